-- Same request id, same content: the hold that there is, open or captured. Other content is refused, and
-- so is an id that a deduct has charged. The row is empty when the id holds nothing.
-- A program is never answered a hold that the payer placed in person, and could end while it works.

DROP FUNCTION IF EXISTS ledger.replayed_hold(TEXT, TEXT, BIGINT, TEXT, TEXT, TEXT);

CREATE OR REPLACE FUNCTION ledger.replayed_hold(
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT,
  request_id TEXT,
  by_payer BOOLEAN
) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.credit_holds;
BEGIN
  SELECT hold.* INTO _hold
  FROM public.credit_holds AS hold
  WHERE hold.org_id = replayed_hold.org_id
    AND hold.request_id = replayed_hold.request_id
    AND hold.status IN ('held', 'captured');

  IF NOT FOUND THEN
    PERFORM FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = replayed_hold.org_id AND charge.request_id = replayed_hold.request_id;
    IF FOUND THEN
      PERFORM ledger.refuse(ledger.id_taken_problem(replayed_hold.org_id, replayed_hold.request_id));
    END IF;
    RETURN NULL;
  ELSIF
    (
      _hold.user_id, coalesce(_hold.placed_credits, _hold.credits), _hold.service_type, _hold.service_name,
      _hold.by_payer
    ) IS DISTINCT FROM (
      replayed_hold.user_id, replayed_hold.credits, replayed_hold.service_type, replayed_hold.service_name,
      replayed_hold.by_payer
    )
  THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(replayed_hold.org_id, replayed_hold.request_id));
  END IF;
  RETURN ledger.hold_row(_hold, replayed => TRUE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_hold FROM PUBLIC;
