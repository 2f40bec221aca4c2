-- Take what is to be sent now, and nobody else does until the lease is over: what was not settled by then is
-- sent again, under the same id. Returns the url, the secret and the body of each.
CREATE OR REPLACE FUNCTION alerts.lease("limit" INTEGER, seconds INTEGER) RETURNS JSONB
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
    SELECT delivery.id
    FROM public.webhook_deliveries AS delivery
    WHERE delivery.status = 'pending' AND delivery.next_attempt_at <= _now
    ORDER BY delivery.next_attempt_at
    LIMIT lease."limit"
    FOR NO KEY UPDATE SKIP LOCKED
  ), leased AS (
    UPDATE public.webhook_deliveries AS delivery
    SET
      lease = gen_random_uuid(),
      attempts = delivery.attempts + 1,
      next_attempt_at = _now + make_interval(secs => lease.seconds)
    FROM due
    WHERE delivery.id = due.id
    RETURNING delivery.*
  )
  SELECT jsonb_agg(jsonb_build_object(
    'delivery_id', leased.id,
    'lease', leased.lease,
    'url', endpoint.url,
    'secret', endpoint.secret,
    'payload', leased.payload
  )) INTO _leased
  FROM leased
  INNER JOIN public.webhook_endpoints AS endpoint ON endpoint.id = leased.endpoint_id;
  RETURN coalesce(_leased, '[]');
END;
$$;

REVOKE ALL ON FUNCTION alerts.lease FROM PUBLIC;
GRANT EXECUTE ON FUNCTION alerts.lease TO credits_app;
