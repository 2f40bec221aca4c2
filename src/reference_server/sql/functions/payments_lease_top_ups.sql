-- Take the open top-ups of which Stripe has not been heard, for so many seconds; nobody else has them until
-- then. Asking Stripe twice is asking once: the id is the key. Stripe forgets keys after 24 hours; asked
-- again then, it could charge again, so what is that old has failed. If it was paid after all, its event says
-- so.
CREATE OR REPLACE FUNCTION payments.lease_top_ups(seconds INTEGER) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _leased JSONB;
BEGIN
  PERFORM payments.fail_top_up(row.id, 'unanswered')
  FROM public.top_ups AS row
  WHERE row.status = 'open' AND row.payment_id IS NULL AND row.created_at <= _now - INTERVAL '23 hours';

  WITH due AS (
    SELECT row.id
    FROM public.top_ups AS row
    WHERE row.status = 'open' AND row.payment_id IS NULL AND row.leased_until <= _now
    LIMIT 20
    FOR NO KEY UPDATE SKIP LOCKED
  ), leased AS (
    UPDATE public.top_ups AS row
    SET leased_until = _now + make_interval(secs => lease_top_ups.seconds)
    FROM due
    WHERE row.id = due.id
    RETURNING row.*
  )
  SELECT jsonb_agg(jsonb_build_object(
    'id', leased.id,
    'customer_id', leased.customer_id,
    'payment_method', leased.payment_method,
    'price_cents', leased.price_cents,
    'currency', leased.currency
  )) INTO _leased
  FROM leased;
  RETURN coalesce(_leased, '[]');
END;
$$;

REVOKE ALL ON FUNCTION payments.lease_top_ups FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.lease_top_ups TO credits_app;
