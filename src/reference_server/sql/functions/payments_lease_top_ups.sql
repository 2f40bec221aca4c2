-- Take the open top-ups of which Stripe has not been heard, for so many seconds; nobody else has them until
-- then. `asked_since` is there for those that somebody has had before: perhaps Stripe was asked.
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
  WITH due AS (
    SELECT row.id, row.leased_until > '-infinity' AS was_leased
    FROM public.top_ups AS row
    WHERE row.status = 'open' AND row.payment_id IS NULL AND row.leased_until <= _now
    LIMIT 20
    FOR NO KEY UPDATE SKIP LOCKED
  ), leased AS (
    UPDATE public.top_ups AS row
    SET leased_until = _now + make_interval(secs => lease_top_ups.seconds)
    FROM due
    WHERE row.id = due.id
    RETURNING row.*, due.was_leased
  )
  SELECT jsonb_agg(jsonb_build_object(
    'id', leased.id,
    'customer_id', leased.customer_id,
    'payment_method', leased.payment_method,
    'price_cents', leased.price_cents,
    'currency', leased.currency,
    'asked_since', CASE WHEN leased.was_leased THEN floor(extract(EPOCH FROM leased.created_at)) END
  )) INTO _leased
  FROM leased;
  RETURN coalesce(_leased, '[]');
END;
$$;

REVOKE ALL ON FUNCTION payments.lease_top_ups FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.lease_top_ups TO credits_app;
