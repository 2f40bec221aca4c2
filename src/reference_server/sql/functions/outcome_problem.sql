-- A refusal that was caught, as the outcome of a batch tells it: from the sentence and the figures that
-- `ledger.refuse` put into the exception.
CREATE OR REPLACE FUNCTION ledger.outcome_problem(sentence TEXT, figures JSONB) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem(
    outcome_problem.figures ->> 'code', outcome_problem.sentence, outcome_problem.figures - 'code'
  ) - 'sqlstate';
END;
$$;

REVOKE ALL ON FUNCTION ledger.outcome_problem FROM PUBLIC;
