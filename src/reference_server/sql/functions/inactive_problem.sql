-- Nothing moves in an organisation that is not active.
CREATE OR REPLACE FUNCTION ledger.inactive_problem(org_id TEXT, status TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem(
    'no_allocation',
    format('No credit allocation: organisation %s is %s.', inactive_problem.org_id, inactive_problem.status),
    '{"limit": "inactive"}'
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.inactive_problem FROM PUBLIC;
