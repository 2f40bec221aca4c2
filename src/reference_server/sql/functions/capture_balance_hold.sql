-- Invariant: a hold becomes exactly one charge, or none: what was set aside is given back, the hold is
-- captured and the charge is written, together, under the lock of the user's row, which comes first.
--
-- Captured for less, the rest is free again; for more, what is beyond the hold must fit the balance, else
-- the hold stays open. A hold past its time that nobody has given back yet still owns its credits. One
-- that was given back is charged if the balance still covers it: the work was done (expired -> captured).
CREATE OR REPLACE FUNCTION ledger.capture_balance_hold(
  hold_id UUID,
  user_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}'
) RETURNS ledger.spending
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.user_credit_holds;
  _person public.users;
  _credits BIGINT;
  _own NUMERIC;
  _charge public.credits_transactions;
  _receipt ledger.spending;
  _problem JSONB;
BEGIN
  IF capture_balance_hold.credits IS NOT NULL AND NOT ledger.is_amount(capture_balance_hold.credits) THEN
    PERFORM ledger.refuse(ledger.amount_problem(capture_balance_hold.credits));
  END IF;
  _hold := ledger.find_balance_hold(capture_balance_hold.hold_id, capture_balance_hold.user_id);
  _person := ledger.lock_user(_hold.user_id);
  -- The user's holds and charges stand still from here on.
  _hold := ledger.find_balance_hold(_hold.id, NULL);
  _credits := coalesce(capture_balance_hold.credits, (_hold.credits * 1000)::BIGINT);
  _own := CASE WHEN _hold.status = 'held' THEN _hold.credits ELSE 0 END;

  IF _hold.status = 'captured' THEN
    RETURN ledger.replayed_balance_capture(_hold, _person, capture_balance_hold.credits);
  ELSIF _hold.status = 'voided' THEN
    PERFORM ledger.refuse(ledger.problem('hold_closed', format('The hold %s was voided.', _hold.id)));
  ELSIF _hold.status = 'expired' THEN
    -- If the job ran again under its id and was charged, that charge is the answer.
    _receipt := ledger.replayed_spending(
      _person, _credits, _hold.transaction_type, _hold.service_type, _hold.service_name, _hold.request_id
    );
    IF _receipt.charge_id IS NOT NULL THEN
      RETURN _receipt;
    END IF;
  END IF;
  IF ledger.balance_problem(_person, _credits, (_own * 1000)::BIGINT) IS NOT NULL THEN
    PERFORM ledger.expire_balance_holds_of(ARRAY[_person.id], except_hold => _hold.id);
    _person := ledger.lock_user(_person.id);
  END IF;
  IF _hold.status = 'expired' THEN
    PERFORM ledger.require_expired_capture(_hold, _person, _credits);
  END IF;
  _problem := ledger.balance_problem(_person, _credits, (_own * 1000)::BIGINT);
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;

  UPDATE public.users AS person
  SET held_credits = person.held_credits - _own
  WHERE person.id = _person.id AND _own > 0;
  UPDATE public.user_credit_holds AS hold
  SET status = 'captured', captured_credits = _credits / 1000.0, updated_at = ledger.now()
  WHERE hold.id = _hold.id;
  INSERT INTO public.credits_transactions AS charge (
    user_id, amount, description, transaction_type, service_type, service_name,
    transaction_metadata, request_id, hold_id
  ) VALUES (
    _person.id, -_credits / 1000.0, _hold.description, _hold.transaction_type,
    _hold.service_type, _hold.service_name,
    _hold.request_metadata || coalesce(capture_balance_hold.request_metadata, '{}'),
    _hold.request_id, _hold.id
  ) RETURNING charge.* INTO _charge;
  RETURN ledger.spending_row(_charge, _person, replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_balance_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.capture_balance_hold TO credits_app;
