-- Give back the overdue holds of some allocations, which the caller has locked, and then the caps that the
-- holds count against: every change of a hold's state happens under the lock of its allocation, so what is
-- read here stays true until it is written. `overdue_at` is the moment that `ledger.lock_caps` was given.
-- `except_hold` is the hold that is being captured: it keeps its credits until it is given back.

-- As it was before there were caps.
DROP FUNCTION IF EXISTS ledger.expire_holds_of(UUID[], UUID, INTEGER);

CREATE OR REPLACE FUNCTION ledger.expire_holds_of(
  allocation_ids UUID[],
  except_hold UUID DEFAULT NULL,
  "limit" INTEGER DEFAULT NULL,
  overdue_at TIMESTAMPTZ DEFAULT NULL
) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := coalesce(expire_holds_of.overdue_at, ledger.now());
  _expired INTEGER;
BEGIN
  WITH overdue AS (
    SELECT hold.org_id, hold.id, allocation.id AS allocation_id
    FROM public.credit_holds AS hold
    INNER JOIN public.user_credit_allocations AS allocation
      ON allocation.org_id = hold.org_id AND allocation.user_id = hold.user_id
    WHERE hold.status = 'held'
      AND hold.expires_at <= _now
      AND allocation.id = ANY(expire_holds_of.allocation_ids)
      AND hold.id IS DISTINCT FROM expire_holds_of.except_hold
    ORDER BY hold.expires_at
    LIMIT expire_holds_of."limit"
  ), expired AS (
    UPDATE public.credit_holds AS hold
    SET status = 'expired', ended_lots = NULL, updated_at = _now
    FROM overdue
    WHERE hold.org_id = overdue.org_id AND hold.id = overdue.id
    RETURNING
      overdue.org_id, overdue.allocation_id, hold.credits, hold.user_id, hold.api_key_id,
      coalesce(hold.counted_at, hold.created_at) AS counted_at
  ), given_back AS (
    UPDATE public.user_credit_allocations AS allocation
    SET held_credits = allocation.held_credits - total.credits, updated_at = _now
    FROM (
      SELECT org_id, allocation_id, sum(credits)::BIGINT AS credits
      FROM expired
      GROUP BY org_id, allocation_id
    ) AS total
    WHERE allocation.org_id = total.org_id AND allocation.id = total.allocation_id
  ), uncounted AS (
    UPDATE public.credit_caps AS cap
    SET used_credits = cap.used_credits - total.credits
    FROM (
      SELECT freed.org_id, freed.scope, freed.subject, freed.period, sum(expired.credits)::BIGINT AS credits
      FROM expired
      INNER JOIN public.credit_caps AS freed
        ON freed.org_id = expired.org_id
          AND (freed.scope, freed.subject) IN (
            ('organization', ''), ('member', expired.user_id), ('api_key', expired.api_key_id)
          )
          AND freed.window_start = ledger.cap_window(freed.period, expired.counted_at)
      GROUP BY freed.org_id, freed.scope, freed.subject, freed.period
    ) AS total
    WHERE cap.org_id = total.org_id
      AND cap.scope = total.scope
      AND cap.subject = total.subject
      AND cap.period = total.period
  )
  SELECT count(*) INTO _expired FROM expired;
  RETURN _expired;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_holds_of FROM PUBLIC;
