-- Invariant: an open hold's credits go back to its allocation exactly once.
-- Voided or expired before, there is nothing to give back: the hold is answered as it is.
-- Where there are caps, it takes their locks and goes round once more.
CREATE OR REPLACE FUNCTION ledger.void_hold(hold_id UUID, org_id TEXT DEFAULT NULL) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.credit_holds;
  _account RECORD;
  _capped BOOLEAN := FALSE;
BEGIN
  FOR _attempt IN 1..20 LOOP
    WITH account AS (
      UPDATE public.user_credit_allocations AS allocation
      SET held_credits = allocation.held_credits - hold.credits, updated_at = ledger.now()
      FROM public.credit_holds AS hold
      WHERE hold.id = void_hold.hold_id
        AND (void_hold.org_id IS NULL OR hold.org_id = void_hold.org_id)
        AND hold.status = 'held'
        AND allocation.org_id = hold.org_id
        AND allocation.user_id = hold.user_id
        -- Not so when somebody closed the hold while this waited for the allocation.
        AND allocation.held_credits >= hold.credits
        AND (_capped OR NOT allocation.capped)
      RETURNING
        allocation.id, allocation.updated_at, hold.id AS hold_id, hold.org_id, hold.credits AS held
    ), closed AS (
      UPDATE public.credit_holds AS hold
      SET status = 'voided', ended_lots = NULL, updated_at = account.updated_at
      FROM account
      WHERE hold.id = account.hold_id AND hold.org_id = account.org_id AND hold.status = 'held'
      RETURNING hold.id
    )
    SELECT account.*, closed.id AS closed_id
    INTO _account
    FROM account
    LEFT JOIN closed ON TRUE;

    IF _account.id IS NOT NULL AND _account.closed_id IS NULL THEN
      -- It was closed, and another hold of the member's covered for it: what was given back is taken back.
      UPDATE public.user_credit_allocations AS allocation
      SET held_credits = allocation.held_credits + _account.held
      WHERE allocation.org_id = _account.org_id AND allocation.id = _account.id;
    END IF;

    _hold := ledger.find_hold(void_hold.hold_id, void_hold.org_id);
    EXIT WHEN _capped OR _hold.status <> 'held';
    _capped := ledger.lock_capped(
      _hold.org_id, _hold.user_id, _hold.api_key_id, _hold.id, give_back => FALSE
    );
  END LOOP;
  IF _capped AND _account.closed_id IS NOT NULL THEN
    PERFORM ledger.give_back_to_caps(_hold, _hold.credits);
  END IF;

  IF _hold.status = 'captured' THEN
    PERFORM ledger.refuse(ledger.problem('hold_closed', format(
      'The hold %s was captured; refund the charge instead.', _hold.id
    )));
  END IF;
  RETURN ledger.hold_row(_hold, replayed => _account.closed_id IS NULL);
END;
$$;

REVOKE ALL ON FUNCTION ledger.void_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.void_hold TO credits_app;
