-- A request id of a user stands for one operation, for ever.
CREATE OR REPLACE FUNCTION ledger.used_id_problem(person public.users, request_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem('idempotency_conflict', format(
    'The request id %s was used before for user %s, for something else.',
    request_id, ledger.user_name(person)
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.used_id_problem FROM PUBLIC;
