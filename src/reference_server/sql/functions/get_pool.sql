-- An organisation's pool, exact at this moment, with what of it expires next if it is not used.
CREATE OR REPLACE FUNCTION ledger.get_pool(org_id TEXT) RETURNS ledger.credit_pool
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _pool ledger.credit_pool;
BEGIN
  SELECT
    pool.org_id, pool.total_credits, pool.allocated_credits, pool.used_credits, pool.settled_credits,
    pool.available_credits, pool.monthly_refresh_amount, pool.next_refresh_date,
    pool.allow_overage, pool.overage_limit, pool.lifetime_purchased_credits, pool.updated_at,
    coalesce(next.rest, 0), next.expires_at
  INTO _pool
  FROM public.organization_credit_pools AS pool
  LEFT JOIN LATERAL (
    SELECT sum(lot.rest)::BIGINT AS rest, lot.expires_at
    FROM ledger.lots_of_pool(pool.org_id) AS lot
    WHERE lot.rest > 0 AND lot.expires_at IS NOT NULL
    GROUP BY lot.expires_at
    ORDER BY lot.expires_at
    LIMIT 1
  ) AS next ON TRUE
  WHERE pool.org_id = get_pool.org_id;

  IF NOT FOUND THEN
    PERFORM ledger.require_organization(get_pool.org_id);
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('Organisation %s has no credit pool yet.', get_pool.org_id)
    ));
  END IF;
  RETURN _pool;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_pool FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_pool TO credits_app;
