-- Same request id, same member, credits and period: the first answer again.
CREATE OR REPLACE FUNCTION ledger.replayed_allocation(
  event public.org_billing_history, user_id TEXT, credits BIGINT, reset_period TEXT
) RETURNS ledger.allocation_change
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _first CONSTANT JSONB := event.event_metadata;
BEGIN
  IF
    event.event_type <> 'credit_allocation'
    OR event.credits <> credits
    OR _first ->> 'user_id' <> user_id
    OR _first ->> 'asked_reset_period' IS DISTINCT FROM reset_period
  THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(event.org_id, event.request_id));
  END IF;
  RETURN ROW(
    event.org_id, user_id, event.credits, _first -> 'allocated_credits', _first -> 'remaining_credits',
    _first ->> 'reset_period', event.request_id, TRUE
  )::ledger.allocation_change;
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_allocation FROM PUBLIC;
