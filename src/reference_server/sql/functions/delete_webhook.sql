-- Delete an endpoint and what was to be sent there; repeating it changes nothing. Answers what is left.
CREATE OR REPLACE FUNCTION ledger.delete_webhook(org_id TEXT, webhook_id UUID, OUT document JSONB)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_open_organization(delete_webhook.org_id);
  PERFORM alerts.close_endpoint(delete_webhook.org_id, delete_webhook.webhook_id);
  document := ledger.list_webhooks(delete_webhook.org_id);
END;
$$;

REVOKE ALL ON FUNCTION ledger.delete_webhook FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.delete_webhook TO credits_app;
