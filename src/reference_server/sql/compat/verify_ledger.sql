-- The public name of `ledger.verify_ledger`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.verify_ledger(org_id TEXT DEFAULT NULL) RETURNS JSONB
LANGUAGE sql VOLATILE
RETURN ledger.verify_ledger(org_id);

REVOKE ALL ON FUNCTION public.verify_ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.verify_ledger TO credits_app;
