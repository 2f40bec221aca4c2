-- A user's balance with what moved it last.
CREATE OR REPLACE FUNCTION ledger.get_statement(user_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _balance CONSTANT ledger.balance := ledger.get_balance(get_statement.user_id);
BEGIN
  document := to_jsonb(_balance) || jsonb_build_object(
    'credit_status',
    CASE
      WHEN NOT _balance.is_active THEN 'inactive'
      WHEN _balance.available_credits <= 0 THEN 'empty'
      ELSE 'active'
    END,
    'transactions', ledger.list_transactions(get_statement.user_id, "limit" => 10) -> 'items'
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_statement FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_statement TO credits_app;
