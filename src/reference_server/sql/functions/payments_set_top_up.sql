-- Invariant: what is set could be bought: a package that is sold once, for no more than the month's most.
-- Lets an organisation's pool or a user's balance buy by itself, or with no package no more. Setting it anew
-- forgets earlier failures, and closes the alert of them.
CREATE OR REPLACE FUNCTION payments.set_top_up(
  customer_id TEXT, package_id TEXT, payment_method TEXT, threshold BIGINT, monthly_cents BIGINT
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _price_cents BIGINT;
BEGIN
  IF set_top_up.package_id IS NOT NULL THEN
    SELECT package.price_cents INTO _price_cents
    FROM public.credit_packages AS package
    WHERE package.id = set_top_up.package_id
      AND package.is_active
      AND package.renews_every IS NULL
      AND package.price_cents > 0;
    IF NOT FOUND THEN
      PERFORM ledger.refuse(ledger.problem(
        'not_found', format('No package %s is for sale once.', set_top_up.package_id)
      ));
    ELSIF set_top_up.monthly_cents < _price_cents THEN
      PERFORM ledger.refuse(ledger.problem('validation_failed', format(
        'monthly_cents must be at least the price of the package %s, %s.', set_top_up.package_id, _price_cents
      )));
    END IF;
  END IF;
  UPDATE public.credit_alerts AS alert
  SET cleared_at = ledger.now()
  FROM public.stripe_customers AS customer
  LEFT JOIN public.users AS person ON person.id = customer.user_id
  WHERE customer.customer_id = set_top_up.customer_id
    AND alert.kind = 'top_up.failed'
    AND alert.cleared_at IS NULL
    AND alert.org_id IS NOT DISTINCT FROM customer.org_id
    AND alert.subject = coalesce(ledger.user_name(person), '');
  IF set_top_up.package_id IS NULL THEN
    DELETE FROM public.top_up_settings AS setting WHERE setting.customer_id = set_top_up.customer_id;
    RETURN FOUND;
  END IF;
  INSERT INTO public.top_up_settings (customer_id, package_id, payment_method, threshold, monthly_cents)
  VALUES (
    set_top_up.customer_id, set_top_up.package_id, set_top_up.payment_method, set_top_up.threshold,
    set_top_up.monthly_cents
  )
  ON CONFLICT (customer_id) DO UPDATE
  SET
    package_id = excluded.package_id,
    payment_method = excluded.payment_method,
    threshold = excluded.threshold,
    monthly_cents = excluded.monthly_cents,
    failures = 0,
    is_active = TRUE,
    updated_at = ledger.now();
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION payments.set_top_up FROM PUBLIC;
