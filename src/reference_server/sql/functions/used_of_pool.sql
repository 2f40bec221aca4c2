-- What an organisation has used of its pool: until now, or until a moment since which there are few charges.
CREATE OR REPLACE FUNCTION ledger.used_of_pool(org_id TEXT, until TIMESTAMPTZ) RETURNS BIGINT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN (
    SELECT pool.used_credits
    FROM public.organization_credit_pools AS pool
    WHERE pool.org_id = used_of_pool.org_id
  ) - (
    SELECT coalesce(sum(charge.credits_used), 0)::BIGINT
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = used_of_pool.org_id AND charge.created_at >= until
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.used_of_pool FROM PUBLIC;
