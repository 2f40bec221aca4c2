-- Let expire what is over its time, of organisations and then of users, the longest due first. Owners in
-- whose rows somebody is busy are left to the next run, or to their own next charge, so that this never
-- waits while it holds locks of others: each owner is a round of its own. Organisations that have left keep
-- their lots as they were, and an owner whom the ledger refuses is warned of and stands in nobody's way.
CREATE OR REPLACE FUNCTION ledger.expire_lots("limit" INTEGER DEFAULT 1000, OUT expired INTEGER)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _org_id TEXT;
  _person public.users;
BEGIN
  expired := 0;
  FOR _org_id IN
    SELECT organization.id
    FROM public.organizations AS organization
    WHERE organization.lots_due_at <= _now AND NOT ledger.is_elsewhere(organization.id)
    ORDER BY organization.lots_due_at
    LIMIT expire_lots."limit"
  LOOP
    BEGIN
      PERFORM FROM public.organizations AS organization
      WHERE organization.id = _org_id
      FOR NO KEY UPDATE NOWAIT;
      PERFORM FROM public.user_credit_allocations AS allocation
      WHERE allocation.org_id = _org_id
      ORDER BY allocation.id
      FOR NO KEY UPDATE NOWAIT;
      PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = _org_id FOR NO KEY UPDATE NOWAIT;
      expired := expired + coalesce(ledger.expire_pool_lots(_org_id), 0);
    EXCEPTION
      WHEN lock_not_available THEN
        CONTINUE;
      WHEN OTHERS THEN
        IF SQLSTATE NOT LIKE 'CR%' THEN
          RAISE;
        END IF;
        RAISE WARNING 'Lots of the organisation % do not expire: %', _org_id, SQLERRM;
    END;
  END LOOP;
  FOR _person IN
    SELECT person.*
    FROM public.users AS person
    WHERE person.lots_due_at <= _now
    ORDER BY person.lots_due_at
    LIMIT greatest(expire_lots."limit" - expired, 0)
    FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    BEGIN
      expired := expired + ledger.expire_balance_lots(_person);
    EXCEPTION
      WHEN OTHERS THEN
        IF SQLSTATE NOT LIKE 'CR%' THEN
          RAISE;
        END IF;
        RAISE WARNING 'Lots of the user % do not expire: %', _person.id, SQLERRM;
    END;
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_lots FROM PUBLIC;
