-- An organisation has one subscription that runs or is tried, at most.
CREATE OR REPLACE FUNCTION ledger.subscribed_problem(org_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem(
    'conflict', format('Organisation %s has an active subscription already.', subscribed_problem.org_id)
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.subscribed_problem FROM PUBLIC;
