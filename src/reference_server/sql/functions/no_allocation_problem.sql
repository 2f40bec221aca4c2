-- A member without a share of the pool.
CREATE OR REPLACE FUNCTION ledger.no_allocation_problem(org_id TEXT, user_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem(
    'no_allocation',
    format(
      'No credit allocation: user %s has no share of the credits of organisation %s.',
      no_allocation_problem.user_id, no_allocation_problem.org_id
    ),
    '{"limit": "no_allocation"}'
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.no_allocation_problem FROM PUBLIC;
