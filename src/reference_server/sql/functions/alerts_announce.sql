-- Put an alert into the outbox, once for each endpoint that wants to hear of its kind. Returns how many.
CREATE OR REPLACE FUNCTION alerts.announce(alert public.credit_alerts) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _count INTEGER;
BEGIN
  INSERT INTO public.webhook_deliveries (
    org_id, endpoint_id, alert_id, event, payload, next_attempt_at, created_at
  )
  SELECT
    endpoint.org_id, endpoint.id, alert.id, alert.kind, alerts.payload(alert), alert.raised_at, alert.raised_at
  FROM public.webhook_endpoints AS endpoint
  WHERE endpoint.org_id IS NOT DISTINCT FROM alert.org_id AND alert.kind = ANY(endpoint.events)
  FOR KEY SHARE
  ON CONFLICT (endpoint_id, alert_id) DO NOTHING;
  GET DIAGNOSTICS _count = ROW_COUNT;
  RETURN _count;
END;
$$;

REVOKE ALL ON FUNCTION alerts.announce FROM PUBLIC;
