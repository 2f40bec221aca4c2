-- How `credits_transactions` refuses a row: in the ledger's own way to the functions that the SDK calls,
-- and as P0001 to plain SQL, whose programs look for the words `Insufficient credits`.
CREATE OR REPLACE FUNCTION ledger.refuse_transaction(problem JSONB) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _stack TEXT;
BEGIN
  GET DIAGNOSTICS _stack = PG_CONTEXT;
  IF _stack ~ '\mledger\.(spend|capture_balance_hold|refund_spending|grant_credits)\(' THEN
    PERFORM ledger.refuse(problem);
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'raise_exception', MESSAGE = problem ->> 'detail';
END;
$$;

REVOKE ALL ON FUNCTION ledger.refuse_transaction FROM PUBLIC;
