-- Invariant: an open hold's credits go back to its user exactly once.
-- Voided or expired before, there is nothing to give back: the hold is answered as it is.
CREATE OR REPLACE FUNCTION ledger.void_balance_hold(hold_id UUID, user_id TEXT DEFAULT NULL)
RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.user_credit_holds;
  _person public.users;
  _is_open BOOLEAN;
BEGIN
  _hold := ledger.find_balance_hold(void_balance_hold.hold_id, void_balance_hold.user_id);
  _person := ledger.lock_user(_hold.user_id);
  _hold := ledger.find_balance_hold(_hold.id, NULL);
  IF _hold.status = 'captured' THEN
    PERFORM ledger.refuse(ledger.problem('hold_closed', format(
      'The hold %s was captured; refund the charge instead.', _hold.id
    )));
  END IF;
  _is_open := _hold.status = 'held';
  IF _is_open THEN
    UPDATE public.users AS person
    SET held_credits = person.held_credits - _hold.credits
    WHERE person.id = _person.id;
    UPDATE public.user_credit_holds AS hold
    SET status = 'voided', ended_lots = NULL, updated_at = ledger.now()
    WHERE hold.id = _hold.id
    RETURNING hold.* INTO _hold;
  END IF;
  RETURN ledger.balance_hold_row(_hold, _person, replayed => NOT _is_open);
END;
$$;

REVOKE ALL ON FUNCTION ledger.void_balance_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.void_balance_hold TO credits_app;
