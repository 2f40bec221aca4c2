-- Put a test into the outbox of an endpoint; the next round sends it.
CREATE OR REPLACE FUNCTION ledger.test_webhook(org_id TEXT, webhook_id UUID, OUT document JSONB)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _delivery public.webhook_deliveries;
BEGIN
  PERFORM ledger.require_open_organization(test_webhook.org_id);
  INSERT INTO public.webhook_deliveries AS delivery (org_id, endpoint_id, event, payload)
  SELECT
    endpoint.org_id, endpoint.id, 'webhook.test',
    json_build_object(
      'type', 'webhook.test',
      'timestamp', to_char(ledger.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      'data', json_build_object('org_id', endpoint.org_id, 'webhook_id', endpoint.id)
    )::TEXT
  FROM public.webhook_endpoints AS endpoint
  WHERE endpoint.org_id = test_webhook.org_id AND endpoint.id = test_webhook.webhook_id
  FOR KEY SHARE
  RETURNING delivery.* INTO _delivery;
  IF _delivery.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no webhook %s here.', test_webhook.webhook_id)
    ));
  END IF;
  document := alerts.delivery_row(_delivery);
END;
$$;

REVOKE ALL ON FUNCTION ledger.test_webhook FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.test_webhook TO credits_app;
