-- The public name of `ledger.capture_hold`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.capture_hold(
  hold_id UUID, org_id TEXT DEFAULT NULL, credits BIGINT DEFAULT NULL, request_metadata JSONB DEFAULT NULL
) RETURNS ledger.receipt
LANGUAGE sql VOLATILE
RETURN ledger.capture_hold(hold_id, org_id, credits, request_metadata);

REVOKE ALL ON FUNCTION public.capture_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.capture_hold TO credits_app;
