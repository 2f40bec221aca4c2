-- The public name of `ledger.refund`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.refund_credits(
  org_id TEXT DEFAULT NULL,
  charge_id UUID DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  reason TEXT DEFAULT NULL,
  idempotency_key TEXT DEFAULT NULL
) RETURNS ledger.refund_receipt
LANGUAGE sql VOLATILE
RETURN ledger.refund(org_id, charge_id, request_id, credits, reason, idempotency_key);

REVOKE ALL ON FUNCTION public.refund_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.refund_credits TO credits_app;
