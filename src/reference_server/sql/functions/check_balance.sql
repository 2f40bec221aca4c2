-- Whether a charge of a user would be taken now: advice, decided again when it is. Overdue holds are in
-- nobody's way. For a user who was switched off the answer is no, with zeros.
CREATE OR REPLACE FUNCTION ledger.check_balance(user_id TEXT, credits BIGINT) RETURNS ledger.credit_check
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _balance ledger.balance;
BEGIN
  IF ledger.is_amount(check_balance.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(check_balance.credits));
  END IF;
  _balance := ledger.get_balance(check_balance.user_id);
  IF NOT _balance.is_active THEN
    RETURN ROW(FALSE, 0, 0, check_balance.credits)::ledger.credit_check;
  END IF;
  RETURN ROW(
    check_balance.credits <= _balance.available_credits,
    _balance.credits, _balance.available_credits, check_balance.credits
  )::ledger.credit_check;
END;
$$;

REVOKE ALL ON FUNCTION ledger.check_balance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.check_balance TO credits_app;
