-- The documents' allocation, in millicredits: adds to what is allocated, to whoever is named, member or
-- not. It carries no request id: called twice, it adds twice.
CREATE OR REPLACE FUNCTION public.allocate_credits_to_user(
  org_id TEXT, user_id TEXT, credits BIGINT, allocated_by TEXT DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.enlarge_allocation(org_id, user_id, credits, NULL, NULL, allocated_by, NULL);
  RETURN TRUE;
EXCEPTION
  WHEN SQLSTATE 'CR000' THEN
    RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = sqlerrm;
END;
$$;

REVOKE ALL ON FUNCTION public.allocate_credits_to_user FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.allocate_credits_to_user TO credits_app;
