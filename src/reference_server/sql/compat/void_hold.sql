-- The public name of `ledger.void_hold`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.void_hold(hold_id UUID, org_id TEXT DEFAULT NULL) RETURNS ledger.hold
LANGUAGE sql VOLATILE
RETURN ledger.void_hold(hold_id, org_id);

REVOKE ALL ON FUNCTION public.void_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.void_hold TO credits_app;
