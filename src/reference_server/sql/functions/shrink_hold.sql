-- Take what was charged for parts out of a hold, and give the rest back if it is to end. Answers the hold.
-- The caller has locked the allocation and its caps, and has written the charges.
CREATE OR REPLACE FUNCTION ledger.shrink_hold(
  hold public.credit_holds, allocation_id UUID, credits BIGINT, is_closed BOOLEAN, moment TIMESTAMPTZ
) RETURNS public.credit_holds
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  _hold public.credit_holds := hold;
  _rest BIGINT := 0;
BEGIN
  IF credits > 0 THEN
    UPDATE public.credit_holds AS current
    SET
      placed_credits = coalesce(current.placed_credits, current.credits),
      credits = current.credits - shrink_hold.credits,
      captured_credits = current.captured_credits + shrink_hold.credits,
      updated_at = moment
    WHERE current.id = _hold.id AND current.org_id = _hold.org_id
    RETURNING current.* INTO _hold;
  END IF;
  IF is_closed AND _hold.status = 'held' THEN
    _rest := _hold.credits;
  END IF;
  -- Before the hold is closed, which loses what it kept of lots that have ended: that is free then.
  UPDATE public.user_credit_allocations AS allocation
  SET
    held_credits = allocation.held_credits - shrink_hold.credits - _rest,
    used_credits = allocation.used_credits + shrink_hold.credits,
    updated_at = moment
  WHERE allocation.org_id = _hold.org_id
    AND allocation.id = shrink_hold.allocation_id
    AND shrink_hold.credits + _rest > 0;
  IF is_closed AND _hold.status = 'held' THEN
    PERFORM ledger.give_back_to_caps(_hold, _rest);
    UPDATE public.credit_holds AS current
    SET status = 'voided', updated_at = moment
    WHERE current.id = _hold.id AND current.org_id = _hold.org_id
    RETURNING current.* INTO _hold;
  END IF;
  RETURN _hold;
END;
$$;

REVOKE ALL ON FUNCTION ledger.shrink_hold FROM PUBLIC;
