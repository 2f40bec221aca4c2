-- Lock the allocations of some members in the order of their ids, in which everybody locks several of them,
-- so that nobody waits in a circle. Answers their ids; members without an allocation have none.
-- Before, what is over its time expires, which locks more.
CREATE OR REPLACE FUNCTION ledger.lock_allocations(org_id TEXT, user_ids TEXT[]) RETURNS UUID[]
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _allocation_ids UUID[];
BEGIN
  PERFORM ledger.expire_due_lots(lock_allocations.org_id);
  SELECT array_agg(locked.id) INTO _allocation_ids
  FROM (
    SELECT allocation.id
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = lock_allocations.org_id AND allocation.user_id = ANY(lock_allocations.user_ids)
    ORDER BY allocation.id
    FOR NO KEY UPDATE
  ) AS locked;
  RETURN coalesce(_allocation_ids, '{}');
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_allocations FROM PUBLIC;
