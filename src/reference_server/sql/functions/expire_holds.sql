-- Give back overdue holds, oldest first. Allocations are locked in id order, and those that are busy are
-- left to the next sweep or to their own next refusal, so that a sweep never waits and never deadlocks.
CREATE OR REPLACE FUNCTION ledger.expire_holds("limit" INTEGER DEFAULT 1000, OUT expired INTEGER)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _allocation_ids UUID[];
BEGIN
  SELECT array_agg(locked.id) INTO _allocation_ids
  FROM (
    SELECT allocation.id
    FROM user_credit_allocations AS allocation
    WHERE (allocation.org_id, allocation.user_id) IN (
      SELECT hold.org_id, hold.user_id
      FROM credit_holds AS hold
      WHERE hold.status = 'held' AND hold.expires_at <= _now
      ORDER BY hold.expires_at
      LIMIT expire_holds."limit"
    )
    ORDER BY allocation.id
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS locked;
  expired := ledger.expire_holds_of(_allocation_ids, "limit" => expire_holds."limit");
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.expire_holds TO credits_app;
