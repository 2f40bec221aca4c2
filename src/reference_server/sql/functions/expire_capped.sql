-- Give back overdue holds of an organisation with caps, unless its caps are busy: a sweep does not wait while
-- it holds allocations, which the caller has locked. Answers how many.
CREATE OR REPLACE FUNCTION ledger.expire_capped(org_id TEXT, allocation_ids UUID[], "limit" INTEGER)
RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10ms'
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
BEGIN
  PERFORM ledger.lock_caps(expire_capped.org_id, expire_capped.allocation_ids, overdue_at => _now);
  RETURN ledger.expire_holds_of(
    expire_capped.allocation_ids, "limit" => expire_capped."limit", overdue_at => _now
  );
EXCEPTION
  WHEN lock_not_available THEN
    RETURN 0;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_capped FROM PUBLIC;
