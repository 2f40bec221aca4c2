-- Give back overdue holds organisation by organisation, so that one that is busy does not keep the others
-- from it: its holds are left to the next sweep. The caller has locked the allocations.
CREATE OR REPLACE FUNCTION ledger.expire_holds_apart(allocation_ids UUID[], "limit" INTEGER) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _expired INTEGER := 0;
  _organization RECORD;
BEGIN
  FOR _organization IN
    SELECT allocation.org_id, array_agg(allocation.id ORDER BY allocation.id) AS allocation_ids
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.id = ANY(expire_holds_apart.allocation_ids)
    GROUP BY allocation.org_id
    ORDER BY allocation.org_id
  LOOP
    BEGIN
      _expired := _expired + ledger.expire_holds_of(
        _organization.allocation_ids, "limit" => expire_holds_apart."limit" - _expired
      );
    EXCEPTION
      WHEN lock_not_available THEN
        NULL;
    END;
  END LOOP;
  RETURN _expired;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_holds_apart FROM PUBLIC;
