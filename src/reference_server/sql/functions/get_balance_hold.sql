-- A hold of a user's credits as it is now.
CREATE OR REPLACE FUNCTION ledger.get_balance_hold(hold_id UUID, user_id TEXT DEFAULT NULL)
RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _hold CONSTANT public.user_credit_holds := ledger.find_balance_hold(hold_id, user_id);
BEGIN
  RETURN ledger.balance_hold_row(_hold, ledger.find_user(_hold.user_id::TEXT), replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_balance_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_balance_hold TO credits_app;
