-- A request id under which somebody holds credits charges them by capturing, not otherwise: else the work
-- that was held for could not be charged any more.
CREATE OR REPLACE FUNCTION ledger.held_id_problem(org_id TEXT, request_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold_id UUID;
BEGIN
  SELECT hold.id INTO _hold_id
  FROM public.credit_holds AS hold
  WHERE hold.org_id = held_id_problem.org_id
    AND hold.request_id = held_id_problem.request_id
    AND hold.status = 'held';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN ledger.problem('idempotency_conflict', format(
    'The request id %s holds credits; capture or void the hold %s.', held_id_problem.request_id, _hold_id
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.held_id_problem FROM PUBLIC;
