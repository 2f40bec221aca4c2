-- The documents' top-up, in millicredits and USD. Makes the pool if it is missing. It carries no request
-- id: called twice, it adds twice.
CREATE OR REPLACE FUNCTION public.add_credits_to_pool(
  org_id TEXT, credits BIGINT, purchase_amount NUMERIC DEFAULT 0
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.add_credits(org_id, credits, purchase_amount);
  RETURN TRUE;
EXCEPTION
  WHEN SQLSTATE 'CR000' THEN
    RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = sqlerrm;
END;
$$;

REVOKE ALL ON FUNCTION public.add_credits_to_pool FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.add_credits_to_pool TO credits_app;
