-- Let an organisation buy a package by itself, with a customer at Stripe.
CREATE OR REPLACE FUNCTION ledger.set_top_up(
  org_id TEXT,
  package_id TEXT,
  payment_method TEXT,
  threshold BIGINT,
  monthly_cents BIGINT,
  OUT document JSONB
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _customer_id TEXT;
BEGIN
  IF ledger.is_amount(set_top_up.threshold) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(set_top_up.threshold));
  ELSIF (set_top_up.monthly_cents > 0) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'monthly_cents must be more than zero.'));
  ELSIF coalesce(set_top_up.payment_method, '') = '' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'payment_method: which one is kept at Stripe?'));
  END IF;
  PERFORM ledger.require_open_organization(set_top_up.org_id);
  SELECT customer.customer_id INTO _customer_id
  FROM public.stripe_customers AS customer
  WHERE customer.org_id = set_top_up.org_id;
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found',
      format('Organisation %s is no customer at Stripe yet: let it buy once.', set_top_up.org_id)
    ));
  END IF;
  PERFORM payments.set_top_up(
    _customer_id, set_top_up.package_id, set_top_up.payment_method, set_top_up.threshold,
    set_top_up.monthly_cents
  );
  document := ledger.get_top_up(set_top_up.org_id);
END;
$$;

REVOKE ALL ON FUNCTION ledger.set_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.set_top_up TO credits_app;
