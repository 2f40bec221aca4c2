-- Invariant: one open top-up of a customer at most, and never more than the month's most. Opens one for each
-- customer whose credits are below the threshold: of a pool all that is left, of a user the balance. Answers
-- how many.
CREATE OR REPLACE FUNCTION payments.open_top_ups() RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _locked TEXT[];
  _opened INTEGER;
BEGIN
  -- Who counts what was paid this month must not be overtaken by another who does: what another has locked is
  -- the other's to open.
  SELECT array_agg(locked.customer_id) INTO _locked
  FROM (
    SELECT setting.customer_id
    FROM public.top_up_settings AS setting
    WHERE setting.is_active
    ORDER BY setting.customer_id
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS locked;
  INSERT INTO public.top_ups (
    customer_id, package_id, payment_method, credits, price_cents, currency, created_at, updated_at
  )
  SELECT
    setting.customer_id, package.id, setting.payment_method, package.credits, package.price_cents,
    package.currency, _now, _now
  FROM public.top_up_settings AS setting
  INNER JOIN public.stripe_customers AS customer ON customer.customer_id = setting.customer_id
  INNER JOIN public.credit_packages AS package ON package.id = setting.package_id
  LEFT JOIN public.organization_credit_pools AS pool ON pool.org_id = customer.org_id
  LEFT JOIN public.users AS person ON person.id = customer.user_id
  WHERE setting.customer_id = ANY(_locked)
    AND package.is_active
    AND package.renews_every IS NULL
    AND package.price_cents > 0
    AND payments.can_be_given(customer.customer_id)
    AND coalesce(pool.total_credits - pool.used_credits, (person.credits * 1000)::BIGINT, 0) < setting.threshold
    AND package.price_cents + (
      SELECT coalesce(sum(earlier.price_cents), 0)
      FROM public.top_ups AS earlier
      WHERE earlier.customer_id = setting.customer_id
        AND earlier.status <> 'failed'
        AND earlier.created_at >= date_trunc('month', _now, 'UTC')
    ) <= setting.monthly_cents
    -- A card that was refused is not tried again at once.
    AND NOT EXISTS (
      SELECT FROM public.top_ups AS failed
      WHERE failed.customer_id = setting.customer_id
        AND failed.status = 'failed'
        AND failed.created_at > _now - INTERVAL '1 hour'
        AND setting.failures > 0
    )
  ON CONFLICT (customer_id) WHERE status = 'open' DO NOTHING;
  GET DIAGNOSTICS _opened = ROW_COUNT;
  RETURN _opened;
END;
$$;

REVOKE ALL ON FUNCTION payments.open_top_ups FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.open_top_ups TO credits_app;
