-- Make an endpoint to which alerts of an organisation are sent; the only answer that shows its secret.
CREATE OR REPLACE FUNCTION ledger.create_webhook(
  org_id TEXT, url TEXT, events JSONB, request_id TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _most CONSTANT INTEGER := 20;
  _known CONSTANT JSONB := '["pool.low", "allocation.low", "spend.spike", "exhaustion.near", "top_up.failed"]';
  _endpoint public.webhook_endpoints;
BEGIN
  IF jsonb_typeof(create_webhook.events) IS DISTINCT FROM 'array'
    OR create_webhook.events = '[]'
    OR NOT create_webhook.events <@ _known
  THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'events: there is no such event.'));
  ELSIF (create_webhook.url ~ '^https?://') IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'url must be an https:// address.'));
  END IF;
  PERFORM ledger.require_open_organization(create_webhook.org_id);
  -- One at a time, so that there are not more than the most in the end.
  PERFORM FROM public.organizations AS organization
  WHERE organization.id = create_webhook.org_id
  FOR NO KEY UPDATE;
  _endpoint := alerts.open_endpoint(
    create_webhook.org_id, create_webhook.url, create_webhook.events,
    coalesce(create_webhook.request_id, ledger.new_request_id())
  );
  IF (
    SELECT count(*) FROM public.webhook_endpoints AS endpoint WHERE endpoint.org_id = create_webhook.org_id
  ) > _most THEN
    PERFORM ledger.refuse(ledger.problem(
      'conflict', format('An organisation has at most %s webhooks; delete one first.', _most)
    ));
  END IF;
  document := alerts.endpoint_row(_endpoint) || jsonb_build_object('secret', _endpoint.secret);
END;
$$;

REVOKE ALL ON FUNCTION ledger.create_webhook FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.create_webhook TO credits_app;
