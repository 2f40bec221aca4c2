-- The public name of `ledger.expire_holds`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.expire_holds("limit" INTEGER DEFAULT 1000) RETURNS INTEGER
LANGUAGE sql VOLATILE
RETURN ledger.expire_holds("limit");

REVOKE ALL ON FUNCTION public.expire_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.expire_holds TO credits_app;
