-- Lock the allocations of some members in the order of their ids, in which everybody locks several of them,
-- so that nobody waits in a circle. Answers their ids; members without an allocation have none.
--
-- What is over its time expires before, which locks more. A lot can end while this waits: then what was
-- locked is let go, because the organisation is locked before its allocations, and it begins anew.
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
  FOR _attempt IN 1..20 LOOP
    -- What has expired here has locked all allocations, so that nothing is waited for after that. A lock that
    -- can be let go costs more than others, and nobody waits for an hour.
    IF ledger.expire_due_lots(lock_allocations.org_id) OR NOT ledger.has_lots_due(
      lock_allocations.org_id, within => INTERVAL '1 hour'
    ) THEN
      RETURN ledger.lock_listed(lock_allocations.org_id, lock_allocations.user_ids);
    END IF;
    BEGIN
      _allocation_ids := ledger.lock_listed(lock_allocations.org_id, lock_allocations.user_ids);
      IF NOT ledger.has_lots_due(lock_allocations.org_id) THEN
        RETURN _allocation_ids;
      END IF;
      RAISE SQLSTATE 'CR999';
    EXCEPTION
      WHEN SQLSTATE 'CR999' THEN
        NULL;
    END;
  END LOOP;
  RAISE serialization_failure USING MESSAGE = 'Others changed these allocations too often; try again.';
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_allocations FROM PUBLIC;
