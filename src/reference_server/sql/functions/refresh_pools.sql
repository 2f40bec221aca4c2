-- Invariant: a pool is refreshed once a month (UTC), however often, late or concurrently this runs. The date
-- moves on under the pool's lock, and the history knows one refresh of a month by its request id, which no
-- caller can use: theirs do not begin with a space. A pool takes no more than it can hold.
--
-- Where it is said after how many days, what is added expires.
--
-- Pools that are busy are left to the next run, so that this never waits while it holds locks.
CREATE OR REPLACE FUNCTION ledger.refresh_pools("limit" INTEGER DEFAULT 1000, OUT refreshed INTEGER)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _request_id CONSTANT TEXT := to_char(_now AT TIME ZONE 'UTC', '" pool_refresh "YYYY-MM');
  _org_ids TEXT[];
  _refresh RECORD;
BEGIN
  SELECT array_agg(locked.org_id) INTO _org_ids
  FROM (
    SELECT pool.org_id
    FROM public.credit_pools AS pool
    INNER JOIN public.organizations AS organization ON organization.id = pool.org_id
    WHERE pool.monthly_refresh_amount > 0
      AND pool.next_refresh_date <= _now
      AND organization.status = 'active'
      AND NOT pool.moved
    ORDER BY pool.org_id
    LIMIT refresh_pools."limit"
    FOR NO KEY UPDATE OF organization, pool SKIP LOCKED
  ) AS locked;

  -- What was spent until now was not spent from what is added now.
  PERFORM ledger.settle_pool_lots(pool.org_id, _now)
  FROM public.credit_pools AS pool
  WHERE pool.org_id = ANY(_org_ids) AND pool.refresh_expires_in_days IS NOT NULL;

  -- A statement of its own, to see what others committed before the locks were taken.
  WITH due AS (
    SELECT
      pool.org_id, pool.total_credits, pool.available_credits, pool.last_refresh_date,
      least(pool.monthly_refresh_amount, 1000000000000000 - pool.total_credits) AS credits
    FROM public.organization_credit_pools AS pool
    WHERE pool.org_id = ANY(_org_ids)
  ), event AS (
    INSERT INTO public.org_billing_history AS event (
      org_id, event_type, credits, request_id, period_start, period_end, event_metadata, created_at
    )
    SELECT
      due.org_id, 'pool_refresh', due.credits, _request_id,
      date_trunc('month', _now AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', ledger.next_reset('monthly', _now),
      jsonb_build_object(
        'total_credits', due.total_credits + due.credits,
        'available_credits', due.available_credits + due.credits
      ),
      _now
    FROM due
    ON CONFLICT (org_id, request_id) WHERE request_id IS NOT NULL DO NOTHING
    RETURNING event.org_id, event.credits
  ), refreshed_pool AS (
    UPDATE public.credit_pools AS pool
    SET
      total_credits = pool.total_credits + coalesce(event.credits, 0),
      last_refresh_date = CASE WHEN event.org_id IS NULL THEN pool.last_refresh_date ELSE _now END,
      next_refresh_date = ledger.next_reset('monthly', _now),
      updated_at = _now
    FROM due
    LEFT JOIN event ON event.org_id = due.org_id
    WHERE pool.org_id = due.org_id
  )
  SELECT count(*) INTO refreshed FROM event;

  FOR _refresh IN
    SELECT event.org_id, event.credits, _now + make_interval(days => pool.refresh_expires_in_days) AS expires_at
    FROM public.org_billing_history AS event
    INNER JOIN public.credit_pools AS pool ON pool.org_id = event.org_id
    WHERE event.org_id = ANY(_org_ids)
      AND event.request_id = _request_id
      AND event.created_at = _now
      AND event.credits > 0
      AND pool.refresh_expires_in_days IS NOT NULL
  LOOP
    PERFORM ledger.add_pool_lot(
      _refresh.org_id, _refresh.credits, _refresh.expires_at, NULL, _request_id, _now
    );
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.refresh_pools FROM PUBLIC;
