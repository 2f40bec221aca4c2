-- The documents' deduct, in millicredits: `ledger.deduct`, whose refusals become P0001 with the words
-- `Insufficient credits` or `No credit allocation`. The same request id again answers true and takes nothing.
CREATE OR REPLACE FUNCTION public.deduct_credits(
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.deduct(org_id, user_id, credits, service_type, service_name, request_id, request_metadata);
  RETURN TRUE;
EXCEPTION
  -- An organisation that the user does not belong to: the callers know one word for it.
  WHEN SQLSTATE 'CR413' THEN
    RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = 'No credit allocation: ' || sqlerrm;
  WHEN SQLSTATE 'CR000' THEN
    RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = sqlerrm;
END;
$$;

REVOKE ALL ON FUNCTION public.deduct_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.deduct_credits TO credits_app;
