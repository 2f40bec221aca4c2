-- The public name of `ledger.reset_allocations`, which is no operation but a part of `ledger.run_due`.
CREATE OR REPLACE FUNCTION public.reset_allocations("limit" INTEGER DEFAULT 1000) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _caller CONSTANT JSONB := ledger.act_as('{"actor": "reset_allocations", "actor_kind": "system"}');
  _done INTEGER;
BEGIN
  _done := ledger.reset_allocations("limit");
  PERFORM ledger.act_as(_caller);
  RETURN _done;
END;
$$;

REVOKE ALL ON FUNCTION public.reset_allocations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.reset_allocations TO credits_app;
