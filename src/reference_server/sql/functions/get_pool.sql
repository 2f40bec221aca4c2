-- An organisation's pool, exact at this moment.
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
    pool.allow_overage, pool.overage_limit, pool.lifetime_purchased_credits, pool.updated_at
  INTO _pool
  FROM public.organization_credit_pools AS pool
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
