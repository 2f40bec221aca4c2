-- A hold as it is now.
CREATE OR REPLACE FUNCTION ledger.get_hold(hold_id UUID, org_id TEXT DEFAULT NULL) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.hold_row(ledger.find_hold(hold_id, org_id), replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_hold TO credits_app;
