-- Invariant: what is left of a lot when it expires leaves the pool, once, and no hold loses its credits.
--
-- Taken is first what is not allocated, then what members' allocations have free, in the order of their ids.
-- Credits that were held when the end was seen, under all the locks, stay with their holds, the oldest first:
-- captured, they are used; given back, they are lost then (`ledger.lose_held_lots`). Nothing of the lot is
-- open after this. An allocation with a period keeps what it is refilled up to.
-- Locks: the organisation, its allocations in id order, caps, its pool.
-- Answers how many lots lost something; NULL if no lot of the organisation is due.
CREATE OR REPLACE FUNCTION ledger.expire_pool_lots(org_id TEXT) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now TIMESTAMPTZ;
  _allocation_ids UUID[];
  _ends_at TIMESTAMPTZ;
  _lot RECORD;
  _keeps BIGINT;
  _expired INTEGER := 0;
BEGIN
  PERFORM FROM public.organizations AS organization
  WHERE organization.id = expire_pool_lots.org_id AND organization.lots_due_at <= ledger.now()
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT array_agg(locked.id) INTO _allocation_ids
  FROM (
    SELECT allocation.id
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = expire_pool_lots.org_id
    ORDER BY allocation.id
    FOR NO KEY UPDATE
  ) AS locked;
  _now := ledger.now();
  -- Holds past their time keep nothing.
  PERFORM ledger.lock_caps(expire_pool_lots.org_id, _allocation_ids, '{}', overdue_at => _now);
  PERFORM ledger.expire_holds_of(_allocation_ids, overdue_at => _now);
  PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = expire_pool_lots.org_id FOR NO KEY UPDATE;
  -- What was spent until each lot ended, then what was captured since: for that, what has ended goes first.
  FOR _ends_at IN
    SELECT DISTINCT lot.expires_at
    FROM public.credit_lots AS lot
    WHERE lot.org_id = expire_pool_lots.org_id
      AND lot.used_credits + lot.expired_credits < lot.credits
      AND lot.expires_at <= _now
      AND lot.ended_at IS NULL
    ORDER BY lot.expires_at
  LOOP
    PERFORM ledger.settle_pool_lots(expire_pool_lots.org_id, _now, _ends_at);
    UPDATE public.credit_lots AS lot
    SET ended_at = _now
    WHERE lot.org_id = expire_pool_lots.org_id AND lot.expires_at = _ends_at AND lot.ended_at IS NULL;
  END LOOP;
  PERFORM ledger.settle_pool_lots(expire_pool_lots.org_id, _now);

  FOR _lot IN
    SELECT
      lot.id, lot.credits - lot.used_credits - lot.expired_credits AS rest
    FROM public.credit_lots AS lot
    WHERE lot.org_id = expire_pool_lots.org_id
      AND lot.used_credits + lot.expired_credits < lot.credits
      AND lot.expires_at <= _now
    ORDER BY lot.priority, lot.expires_at, lot.created_at, lot.id
  LOOP
    _keeps := ledger.keep_in_holds(expire_pool_lots.org_id, _lot.id, _lot.rest);
    UPDATE public.credit_lots AS lot
    SET used_credits = lot.used_credits + _keeps, updated_at = _now
    WHERE lot.id = _lot.id;
    UPDATE public.credit_pools AS pool
    SET lots_spent_credits = pool.lots_spent_credits + _keeps
    WHERE pool.org_id = expire_pool_lots.org_id;
    IF _lot.rest > _keeps THEN
      PERFORM ledger.take_expired(expire_pool_lots.org_id, _lot.id, _lot.rest - _keeps, _now);
      _expired := _expired + 1;
    END IF;
  END LOOP;

  UPDATE public.organizations AS organization
  SET lots_due_at = (
    SELECT min(lot.expires_at)
    FROM public.credit_lots AS lot
    WHERE lot.org_id = organization.id AND lot.used_credits + lot.expired_credits < lot.credits
  )
  WHERE organization.id = expire_pool_lots.org_id;
  RETURN _expired;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_pool_lots FROM PUBLIC;
