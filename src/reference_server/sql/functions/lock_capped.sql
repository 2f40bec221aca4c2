-- Answers whether a member's allocation is under caps. If so, it is locked, and then the caps; and unless
-- `give_back` is false, the member's overdue holds are given back, which count against caps until then.
-- `except_hold` is the hold that is being captured or voided.
CREATE OR REPLACE FUNCTION ledger.lock_capped(
  org_id TEXT, user_id TEXT, api_key_id TEXT, except_hold UUID DEFAULT NULL, give_back BOOLEAN DEFAULT TRUE
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _allocation_id UUID;
  _now TIMESTAMPTZ;
BEGIN
  SELECT allocation.id INTO _allocation_id
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = lock_capped.org_id
    AND allocation.user_id = lock_capped.user_id
    AND allocation.capped
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;

  IF lock_capped.give_back THEN
    _now := ledger.now();
  END IF;
  PERFORM ledger.lock_caps(
    lock_capped.org_id, ARRAY[_allocation_id], ARRAY[lock_capped.api_key_id], overdue_at => _now
  );
  IF lock_capped.give_back THEN
    PERFORM ledger.expire_holds_of(ARRAY[_allocation_id], lock_capped.except_hold, overdue_at => _now);
  END IF;
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_capped FROM PUBLIC;
