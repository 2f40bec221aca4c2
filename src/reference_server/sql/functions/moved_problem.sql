-- An organisation whose books are in another database, or on the way there. Whoever asks again finds it.
CREATE OR REPLACE FUNCTION ledger.moved_problem(org_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem(
    'unavailable',
    format('The books of organisation %s are moving to another database.', moved_problem.org_id),
    '{"retry_after": 1}'
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.moved_problem FROM PUBLIC;
