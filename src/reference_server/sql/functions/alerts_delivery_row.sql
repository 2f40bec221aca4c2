-- A delivery as it is answered.
CREATE OR REPLACE FUNCTION alerts.delivery_row(delivery public.webhook_deliveries) RETURNS JSONB
LANGUAGE sql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'delivery_id', (delivery).id,
  'org_id', (delivery).org_id,
  'webhook_id', (delivery).endpoint_id,
  'alert_id', (delivery).alert_id,
  'event', (delivery).event,
  'status', (delivery).status,
  'attempts', (delivery).attempts,
  'next_attempt_at', CASE WHEN (delivery).status = 'pending' THEN (delivery).next_attempt_at END,
  'last_status', (delivery).last_status,
  'last_error', (delivery).last_error,
  'created_at', (delivery).created_at,
  'delivered_at', (delivery).delivered_at
)
$$;

REVOKE ALL ON FUNCTION alerts.delivery_row FROM PUBLIC;
