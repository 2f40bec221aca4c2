-- As it was before there were lots.
DROP FUNCTION IF EXISTS ledger.replayed_addition(public.org_billing_history, BIGINT, NUMERIC);

-- Same request id, same credits for the same money: the first answer again.
CREATE OR REPLACE FUNCTION ledger.replayed_addition(
  event public.org_billing_history, credits BIGINT, purchase_amount NUMERIC, terms JSONB
) RETURNS ledger.pool_change
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF
    event.event_type NOT IN ('credit_purchase', 'credit_grant')
    OR event.credits <> credits
    OR event.amount <> purchase_amount
    OR event.event_metadata -> 'lot' IS DISTINCT FROM terms
  THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(event.org_id, event.request_id));
  END IF;
  RETURN ROW(
    event.org_id, event.credits, event.event_metadata -> 'total_credits',
    event.event_metadata -> 'available_credits', event.request_id, TRUE
  )::ledger.pool_change;
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_addition FROM PUBLIC;
