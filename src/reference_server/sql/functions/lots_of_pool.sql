-- The open lots of an organisation as they are now, or were at an earlier moment since they changed last,
-- whether that is written down or not.
CREATE OR REPLACE FUNCTION ledger.lots_of_pool(org_id TEXT, until TIMESTAMPTZ DEFAULT NULL) RETURNS TABLE (
  lot_id UUID, absorbed BIGINT, rest BIGINT, expires_at TIMESTAMPTZ, created_at TIMESTAMPTZ, place BIGINT
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _used CONSTANT BIGINT := ledger.used_of_pool(lots_of_pool.org_id, until);
BEGIN
  RETURN QUERY
  SELECT lot.*
  FROM public.credit_pools AS pool
  CROSS JOIN LATERAL ledger.open_lots(
    pool.org_id, NULL, _used - pool.lots_spent_credits, pool.total_credits - _used
  ) AS lot
  WHERE pool.org_id = lots_of_pool.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lots_of_pool FROM PUBLIC;
