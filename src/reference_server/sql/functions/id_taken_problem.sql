-- A request id stands for one operation, for ever.
CREATE OR REPLACE FUNCTION ledger.id_taken_problem(org_id TEXT, request_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem('idempotency_conflict', format(
    'The request id %s was used before in organisation %s, for something else.',
    id_taken_problem.request_id, id_taken_problem.org_id
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.id_taken_problem FROM PUBLIC;
