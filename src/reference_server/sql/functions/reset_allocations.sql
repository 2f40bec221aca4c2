-- Invariant: a reset closes a period once, and takes no more out of the pool than the pool has. What was
-- used is settled, and leaves the share; the share is then refilled up to what it was meant to be
-- (`allocated_credits + shortfall_credits`), in the order of ids as far as the pool's available credits go:
--
--     allocated' = allocated - used + refill       used' = 0       settled' = settled + used
--
-- so that available' = available - refill. What the pool could not refill is the new shortfall, which a
-- later reset makes good; what a refund of an earlier period left above the share goes back to the pool.
-- Held credits stay held. A member who used more than was allocated (overage), and whose overdraft the
-- pool cannot cover, starts the next period with what is left of the overdraft as used.
--
-- A reset that runs late is one reset: the next one is due at the next boundary from now. Allocations in
-- whose row or pool somebody is busy, a charge or another run, are left to the next run, so that this never
-- waits while it holds locks: neither deadlock nor two resets. Lots that are due expire before, and
-- pools that are due are refreshed.
CREATE OR REPLACE FUNCTION ledger.reset_allocations("limit" INTEGER DEFAULT 1000, OUT reset INTEGER)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _org_ids TEXT[];
  _ids UUID[];
BEGIN
  SELECT array_agg(locked.org_id), array_agg(locked.id) INTO _org_ids, _ids
  FROM (
    SELECT allocation.org_id, allocation.id
    FROM public.user_credit_allocations AS allocation
    INNER JOIN public.organizations AS organization ON organization.id = allocation.org_id
    INNER JOIN public.credit_pools AS pool ON pool.org_id = allocation.org_id
    WHERE allocation.reset_period <> 'never'
      AND allocation.next_reset_date <= _now
      AND allocation.is_active
      AND NOT allocation.moved
      AND organization.status = 'active'
      AND (pool.monthly_refresh_amount = 0 OR pool.next_refresh_date > _now)
      AND (organization.lots_due_at IS NULL OR organization.lots_due_at > _now)
    ORDER BY allocation.id
    LIMIT reset_allocations."limit"
    FOR NO KEY UPDATE OF allocation, pool SKIP LOCKED
  ) AS locked;

  -- A statement of its own, to see what others committed before the locks were taken.
  WITH closing AS (
    SELECT
      allocation.org_id, allocation.id, allocation.used_credits AS used,
      coalesce(allocation.last_reset_date, allocation.created_at) AS began_at,
      allocation.allocated_credits - allocation.used_credits AS remaining,
      allocation.allocated_credits + allocation.shortfall_credits AS target,
      -- Holds that are open stay covered.
      greatest(allocation.allocated_credits + allocation.shortfall_credits, allocation.held_credits)
      - (allocation.allocated_credits - allocation.used_credits) AS wanted
    FROM unnest(_org_ids, _ids) AS due (org_id, id)
    INNER JOIN public.user_credit_allocations AS allocation
      ON allocation.org_id = due.org_id AND allocation.id = due.id
  ), purse AS (
    SELECT total.org_id, greatest(pool.available_credits + total.given_back, 0) AS credits
    FROM (
      SELECT closing.org_id, -sum(least(closing.wanted, 0)) AS given_back
      FROM closing
      GROUP BY closing.org_id
    ) AS total
    INNER JOIN public.organization_credit_pools AS pool ON pool.org_id = total.org_id
  ), share AS (
    SELECT
      closing.*,
      closing.remaining + least(
        closing.wanted,
        greatest(
          purse.credits - sum(greatest(closing.wanted, 0)) OVER earlier + greatest(closing.wanted, 0), 0
        )
      )::BIGINT AS credits
    FROM closing
    INNER JOIN purse ON purse.org_id = closing.org_id
    WINDOW earlier AS (PARTITION BY closing.org_id ORDER BY closing.id)
  ), closed AS (
    UPDATE public.user_credit_allocations AS allocation
    SET
      allocated_credits = greatest(share.credits, 0),
      used_credits = greatest(-share.credits, 0),
      settled_credits = allocation.settled_credits + share.used - greatest(-share.credits, 0),
      shortfall_credits = share.target - greatest(share.credits, 0),
      last_reset_date = _now,
      next_reset_date = ledger.next_reset(allocation.reset_period, _now),
      updated_at = _now
    FROM share
    WHERE allocation.org_id = share.org_id AND allocation.id = share.id
    RETURNING
      allocation.*, share.began_at,
      share.used - allocation.used_credits AS closed_credits,
      share.credits - share.remaining AS refilled_credits
  ), event AS (
    INSERT INTO public.org_billing_history (
      org_id, event_type, credits, period_start, period_end, event_metadata, created_at
    )
    SELECT
      closed.org_id, 'allocation_reset', closed.refilled_credits, closed.began_at, _now,
      jsonb_build_object(
        'user_id', closed.user_id,
        'settled_credits', closed.closed_credits,
        'refilled_credits', closed.refilled_credits,
        'allocated_credits', closed.allocated_credits,
        'shortfall_credits', closed.shortfall_credits,
        'reset_period', closed.reset_period
      ),
      _now
    FROM closed
  )
  SELECT count(*) INTO reset FROM closed;
END;
$$;

REVOKE ALL ON FUNCTION ledger.reset_allocations FROM PUBLIC;
