-- Give back overdue holds, oldest first, those of the organisation ledger before those of users; `limit`
-- is for both together. Allocations are locked in id order, and those that are busy are
-- left to the next sweep or to their own next refusal, so that a sweep never waits and never deadlocks.
-- So are those of an organisation whose caps are busy, which come last.
CREATE OR REPLACE FUNCTION ledger.expire_holds("limit" INTEGER DEFAULT 1000, OUT expired INTEGER)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _allocation_ids UUID[];
  _capped JSONB;
  _organization RECORD;
BEGIN
  SELECT
    array_agg(locked.id) FILTER (WHERE NOT locked.capped),
    jsonb_agg(to_jsonb(locked)) FILTER (WHERE locked.capped)
  INTO _allocation_ids, _capped
  FROM (
    SELECT allocation.org_id, allocation.id, allocation.capped
    FROM public.user_credit_allocations AS allocation
    WHERE (allocation.org_id, allocation.user_id) IN (
      SELECT hold.org_id, hold.user_id
      FROM public.credit_holds AS hold
      WHERE hold.status = 'held' AND hold.expires_at <= _now AND NOT ledger.is_elsewhere(hold.org_id)
      ORDER BY hold.expires_at
      LIMIT expire_holds."limit"
    )
    ORDER BY allocation.id
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS locked;
  BEGIN
    expired := ledger.expire_holds_of(_allocation_ids, "limit" => expire_holds."limit");
  EXCEPTION
    -- What a hold kept of a lot is taken under the lock of its organisation, which somebody has.
    WHEN lock_not_available THEN
      expired := ledger.expire_holds_apart(_allocation_ids, expire_holds."limit");
  END;

  FOR _organization IN
    SELECT locked.org_id, array_agg(locked.id) AS allocation_ids
    FROM jsonb_to_recordset(_capped) AS locked (org_id TEXT, id UUID)
    GROUP BY locked.org_id
    ORDER BY locked.org_id
  LOOP
    expired := expired + ledger.expire_capped(
      _organization.org_id, _organization.allocation_ids, expire_holds."limit" - expired
    );
  END LOOP;
  expired := expired + ledger.expire_balance_holds(expire_holds."limit" - expired);
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.expire_holds TO credits_app;
