-- The public name of `ledger.deduct_batch`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.deduct_credits_batch(org_id TEXT, charges JSONB) RETURNS JSONB
LANGUAGE sql VOLATILE
RETURN ledger.deduct_batch(org_id, charges)::JSONB;

REVOKE ALL ON FUNCTION public.deduct_credits_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.deduct_credits_batch TO credits_app;
