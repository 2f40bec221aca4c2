-- Take what expired of a lot out of the pool, whose members' allocations the caller has locked: first what is
-- not allocated. With `user_id`, what remains is taken from that member alone.

-- As it was before holds lost what they kept.
DROP FUNCTION IF EXISTS ledger.take_expired(TEXT, UUID, BIGINT, TIMESTAMPTZ);

CREATE OR REPLACE FUNCTION ledger.take_expired(
  org_id TEXT, lot_id UUID, credits BIGINT, moment TIMESTAMPTZ, user_id TEXT DEFAULT NULL
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _caller CONSTANT JSONB := ledger.act_as('{"actor": "expire_lots", "actor_kind": "system"}');
  _beyond BIGINT;
BEGIN
  SELECT greatest(take_expired.credits - greatest(pool.available_credits, 0), 0) INTO _beyond
  FROM public.organization_credit_pools AS pool
  WHERE pool.org_id = take_expired.org_id;

  UPDATE public.user_credit_allocations AS allocation
  SET
    allocated_credits = allocation.allocated_credits - share.credits,
    shortfall_credits = allocation.shortfall_credits
    + CASE WHEN allocation.reset_period = 'never' THEN 0 ELSE share.credits END,
    updated_at = moment
  FROM (
    SELECT line.id, least(line.free, greatest(_beyond - line.before_it, 0)) AS credits
    FROM (
      SELECT
        row.id,
        greatest(row.allocated_credits - row.used_credits - row.held_credits, 0) AS free,
        sum(greatest(row.allocated_credits - row.used_credits - row.held_credits, 0)) OVER (ORDER BY row.id)
        - greatest(row.allocated_credits - row.used_credits - row.held_credits, 0) AS before_it
      FROM public.user_credit_allocations AS row
      WHERE row.org_id = take_expired.org_id
        AND (take_expired.user_id IS NULL OR row.user_id = take_expired.user_id)
    ) AS line
  ) AS share
  WHERE allocation.org_id = take_expired.org_id AND allocation.id = share.id AND share.credits > 0;
  UPDATE public.credit_pools AS pool
  SET total_credits = pool.total_credits - take_expired.credits, updated_at = moment
  WHERE pool.org_id = take_expired.org_id;

  UPDATE public.credit_lots AS lot
  SET expired_credits = lot.expired_credits + take_expired.credits, updated_at = moment
  WHERE lot.id = take_expired.lot_id;
  INSERT INTO public.org_billing_history (org_id, event_type, credits, event_metadata, created_at)
  SELECT
    pool.org_id, 'credit_expired', -take_expired.credits,
    jsonb_build_object(
      'lot_id', take_expired.lot_id,
      'total_credits', pool.total_credits,
      'available_credits', pool.available_credits
    ),
    moment
  FROM public.organization_credit_pools AS pool
  WHERE pool.org_id = take_expired.org_id;
  PERFORM ledger.act_as(_caller);
END;
$$;

REVOKE ALL ON FUNCTION ledger.take_expired FROM PUBLIC;
