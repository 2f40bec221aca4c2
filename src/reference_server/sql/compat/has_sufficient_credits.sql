-- The documents' check, in millicredits. Counts holds; false without an active allocation.
CREATE OR REPLACE FUNCTION public.has_sufficient_credits(org_id TEXT, user_id TEXT, credits BIGINT)
RETURNS BOOLEAN
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (ledger.check_credits(org_id, user_id, credits)).has_sufficient_credits;
EXCEPTION
  WHEN SQLSTATE 'CR413' THEN
    RETURN FALSE;
  WHEN SQLSTATE 'CR000' THEN
    RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = sqlerrm;
END;
$$;

REVOKE ALL ON FUNCTION public.has_sufficient_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.has_sufficient_credits TO credits_app;
