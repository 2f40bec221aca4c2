-- Delete an endpoint and what was and is to be sent there; returns whether there was one. What is about to be
-- put into its outbox waits for the lock of its row, and then finds it gone.
CREATE OR REPLACE FUNCTION alerts.close_endpoint(org_id TEXT, endpoint_id UUID) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.webhook_endpoints AS endpoint
  WHERE endpoint.id = close_endpoint.endpoint_id
    AND endpoint.org_id IS NOT DISTINCT FROM close_endpoint.org_id
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  DELETE FROM public.webhook_deliveries AS delivery WHERE delivery.endpoint_id = close_endpoint.endpoint_id;
  DELETE FROM public.webhook_endpoints AS endpoint WHERE endpoint.id = close_endpoint.endpoint_id;
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION alerts.close_endpoint FROM PUBLIC;
