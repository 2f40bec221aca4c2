-- The endpoints to which alerts of an organisation are sent.
CREATE OR REPLACE FUNCTION ledger.list_webhooks(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(list_webhooks.org_id);
  SELECT jsonb_build_object('webhooks', coalesce(
    jsonb_agg(alerts.endpoint_row(endpoint) ORDER BY endpoint.created_at, endpoint.id), '[]'
  )) INTO document
  FROM public.webhook_endpoints AS endpoint
  WHERE endpoint.org_id = list_webhooks.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_webhooks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_webhooks TO credits_app;
