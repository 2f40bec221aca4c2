-- An endpoint as it is answered: without its secret.
CREATE OR REPLACE FUNCTION alerts.endpoint_row(endpoint public.webhook_endpoints) RETURNS JSONB
LANGUAGE sql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'webhook_id', (endpoint).id,
  'org_id', (endpoint).org_id,
  'url', (endpoint).url,
  'events', to_jsonb((endpoint).events),
  'created_at', (endpoint).created_at
)
$$;

REVOKE ALL ON FUNCTION alerts.endpoint_row FROM PUBLIC;
