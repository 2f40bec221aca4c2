-- The locks of `ledger.lock_allocations`, whatever is due.
CREATE OR REPLACE FUNCTION ledger.lock_listed(org_id TEXT, user_ids TEXT[]) RETURNS UUID[]
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _allocation_ids UUID[];
BEGIN
  SELECT array_agg(locked.id) INTO _allocation_ids
  FROM (
    SELECT allocation.id
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = lock_listed.org_id AND allocation.user_id = ANY(lock_listed.user_ids)
    ORDER BY allocation.id
    FOR NO KEY UPDATE
  ) AS locked;
  RETURN coalesce(_allocation_ids, '{}');
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_listed FROM PUBLIC;
