-- Why an amount cannot move.
CREATE OR REPLACE FUNCTION ledger.amount_problem(credits BIGINT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem('invalid_amount', format(
    'credits must be more than zero and at most 1,000,000,000,000, not %s.',
    coalesce(ledger.format_credits(amount_problem.credits), 'nothing')
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.amount_problem FROM PUBLIC;
