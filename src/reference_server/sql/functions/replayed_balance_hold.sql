-- Same request id, same content: the hold that there is, open or captured. Other content is refused, and
-- so is an id that has charged or added. The row is empty when the id holds nothing.
-- A program is never answered a hold that the user placed in person, and could end while it works.

DROP FUNCTION IF EXISTS ledger.replayed_balance_hold(public.users, BIGINT, TEXT, TEXT, TEXT, TEXT);

CREATE OR REPLACE FUNCTION ledger.replayed_balance_hold(
  person public.users,
  credits BIGINT,
  transaction_type TEXT,
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
  _hold public.user_credit_holds;
  _is_taken BOOLEAN;
BEGIN
  SELECT hold.* INTO _hold
  FROM public.user_credit_holds AS hold
  WHERE hold.user_id = person.id
    AND hold.request_id = replayed_balance_hold.request_id
    AND hold.status IN ('held', 'captured');

  IF FOUND THEN
    _is_taken := (
      coalesce(_hold.placed_credits, _hold.credits) * 1000,
      _hold.transaction_type, _hold.service_type, _hold.service_name, _hold.by_payer
    ) IS DISTINCT FROM (
      replayed_balance_hold.credits::NUMERIC, replayed_balance_hold.transaction_type,
      replayed_balance_hold.service_type, replayed_balance_hold.service_name, replayed_balance_hold.by_payer
    );
  ELSE
    PERFORM FROM public.credits_transactions AS charge
    WHERE charge.user_id = person.id AND charge.request_id = replayed_balance_hold.request_id;
    _is_taken := FOUND;
  END IF;
  IF _is_taken THEN
    PERFORM ledger.refuse(ledger.used_id_problem(person, replayed_balance_hold.request_id));
  ELSIF _hold.id IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN ledger.balance_hold_row(_hold, person, replayed => TRUE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_balance_hold FROM PUBLIC;
