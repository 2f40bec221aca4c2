-- The public name of `ledger.refresh_pools`, which is no operation but a part of `ledger.run_due`.
CREATE OR REPLACE FUNCTION public.refresh_pools("limit" INTEGER DEFAULT 1000) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  RETURN ledger.refresh_pools("limit");
END;
$$;

REVOKE ALL ON FUNCTION public.refresh_pools FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.refresh_pools TO credits_app;
