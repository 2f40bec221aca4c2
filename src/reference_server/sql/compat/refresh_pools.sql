-- The public name of `ledger.refresh_pools`, which is no operation but a part of `ledger.run_due`.
CREATE OR REPLACE FUNCTION public.refresh_pools("limit" INTEGER DEFAULT 1000) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _caller CONSTANT JSONB := ledger.act_as('{"actor": "refresh_pools", "actor_kind": "system"}');
  _done INTEGER;
BEGIN
  _done := ledger.refresh_pools("limit");
  PERFORM ledger.act_as(_caller);
  RETURN _done;
END;
$$;

REVOKE ALL ON FUNCTION public.refresh_pools FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.refresh_pools TO credits_app;
