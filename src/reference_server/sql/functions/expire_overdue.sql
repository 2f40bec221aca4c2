-- Overdue holds stand in nobody's way: before a member is refused, theirs are given back. Answers whether
-- that freed anything. Takes the allocation's lock first, and only when there is something to do.
--
-- For allocations that are not under caps: if it has come under some meanwhile, the answer is to try again.
CREATE OR REPLACE FUNCTION ledger.expire_overdue(
  org_id TEXT, user_id TEXT, except_hold UUID DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _allocation_id UUID;
BEGIN
  PERFORM FROM public.credit_holds AS hold
  WHERE hold.status = 'held'
    AND hold.expires_at <= _now
    AND hold.org_id = expire_overdue.org_id
    AND hold.user_id = expire_overdue.user_id
    AND hold.id IS DISTINCT FROM expire_overdue.except_hold;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;

  SELECT allocation.id INTO _allocation_id
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = expire_overdue.org_id
    AND allocation.user_id = expire_overdue.user_id
    AND NOT allocation.capped
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN TRUE;
  END IF;
  RETURN ledger.expire_holds_of(ARRAY[_allocation_id], expire_overdue.except_hold) > 0;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_overdue FROM PUBLIC;
