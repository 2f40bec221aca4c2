-- Invariant: a subscription is as Stripe said last, and ends once. What it said earlier changes nothing when
-- it is delivered later.
CREATE OR REPLACE FUNCTION payments.apply_subscription(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.stripe_customers AS customer WHERE customer.customer_id = facts ->> 'customer_id';
  IF NOT FOUND THEN
    RETURN payments.outcome('unmatched', format(
      'The customer %s is none of this server''s.', coalesce(facts ->> 'customer_id', 'nobody')
    ));
  END IF;
  INSERT INTO public.stripe_subscriptions AS row (
    subscription_id, customer_id, package_id, status, current_period_start, current_period_end,
    cancel_at_period_end, canceled_at, told_at
  ) VALUES (
    facts ->> 'subscription_id', facts ->> 'customer_id',
    (SELECT package.id FROM public.credit_packages AS package WHERE package.stripe_price_id = facts ->> 'price_id'),
    facts ->> 'status',
    to_timestamp((facts ->> 'current_period_start')::BIGINT),
    to_timestamp((facts ->> 'current_period_end')::BIGINT),
    (facts ->> 'cancel_at_period_end')::BOOLEAN,
    to_timestamp((facts ->> 'canceled_at')::BIGINT),
    (facts ->> 'told_at')::TIMESTAMPTZ
  )
  ON CONFLICT (subscription_id) DO UPDATE SET
    package_id = coalesce(excluded.package_id, row.package_id),
    status = excluded.status,
    current_period_start = excluded.current_period_start,
    current_period_end = excluded.current_period_end,
    cancel_at_period_end = excluded.cancel_at_period_end,
    canceled_at = excluded.canceled_at,
    told_at = excluded.told_at,
    updated_at = ledger.now()
  WHERE row.customer_id = excluded.customer_id
    AND excluded.told_at >= row.told_at
    AND row.status <> 'canceled';
  RETURN payments.outcome('applied');
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_subscription FROM PUBLIC;
