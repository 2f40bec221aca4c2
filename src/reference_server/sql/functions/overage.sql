-- By how much the members of an organisation may each spend more than they are allocated.
CREATE OR REPLACE FUNCTION ledger.overage(org_id TEXT) RETURNS BIGINT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN coalesce(
    (
      SELECT pool.overage_limit
      FROM public.credit_pools AS pool
      WHERE pool.org_id = overage.org_id AND pool.allow_overage
    ),
    0
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.overage FROM PUBLIC;
