-- A request id under which a user's credits are held charges them by capturing, not otherwise.
CREATE OR REPLACE FUNCTION ledger.holding_id_problem(user_id BIGINT, request_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold_id UUID;
BEGIN
  SELECT hold.id INTO _hold_id
  FROM public.user_credit_holds AS hold
  WHERE hold.user_id = holding_id_problem.user_id
    AND hold.request_id = holding_id_problem.request_id
    AND hold.status = 'held';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN ledger.problem('idempotency_conflict', format(
    'The request id %s holds credits; capture or void the hold %s.',
    holding_id_problem.request_id, _hold_id
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.holding_id_problem FROM PUBLIC;
