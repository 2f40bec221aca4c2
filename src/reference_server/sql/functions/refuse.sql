-- The only way in which the ledger says no: a SQLSTATE of our own class (CR...), a sentence for people as
-- the message, and code and figures as JSON in DETAIL. Callers never parse the sentence.
CREATE OR REPLACE FUNCTION ledger.refuse(problem JSONB) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = problem ->> 'sqlstate',
    MESSAGE = problem ->> 'detail',
    DETAIL = (problem - ARRAY['sqlstate', 'status', 'detail'])::TEXT;
END;
$$;

REVOKE ALL ON FUNCTION ledger.refuse FROM PUBLIC;
