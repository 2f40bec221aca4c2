-- Send something again, under the id that it has: what was dead lives again, with ten attempts more.
CREATE OR REPLACE FUNCTION ledger.redeliver_webhook(org_id TEXT, delivery_id UUID, OUT document JSONB)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _delivery public.webhook_deliveries;
BEGIN
  PERFORM ledger.require_open_organization(redeliver_webhook.org_id);
  UPDATE public.webhook_deliveries AS delivery
  SET
    status = 'pending',
    lease = NULL,
    attempts = 10 * (delivery.redeliveries + 1),
    redeliveries = delivery.redeliveries + 1,
    next_attempt_at = ledger.now()
  WHERE delivery.org_id = redeliver_webhook.org_id AND delivery.id = redeliver_webhook.delivery_id
  RETURNING delivery.* INTO _delivery;
  IF _delivery.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no delivery %s here.', redeliver_webhook.delivery_id)
    ));
  END IF;
  document := alerts.delivery_row(_delivery);
END;
$$;

REVOKE ALL ON FUNCTION ledger.redeliver_webhook FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.redeliver_webhook TO credits_app;
