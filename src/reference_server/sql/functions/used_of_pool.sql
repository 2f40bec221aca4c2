-- What an organisation has used of its pool: until now, or until a moment since which there are few charges.
-- What holds keep of lots that have ended counts as used since then, and not once more when it is captured.
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
  ) + (
    SELECT coalesce(sum(ledger.ended_credits(hold.ended_lots)), 0)::BIGINT
    FROM public.credit_holds AS hold
    WHERE hold.org_id = used_of_pool.org_id AND hold.status = 'held' AND hold.ended_lots IS NOT NULL
  ) - (
    SELECT
      coalesce(
        sum(charge.credits_used - least(charge.credits_used, coalesce(ledger.ended_credits(hold.ended_lots), 0))),
        0
      )::BIGINT
    FROM public.credit_usage_attribution AS charge
    LEFT JOIN public.credit_holds AS hold
      ON hold.id = charge.hold_id AND hold.org_id = charge.org_id AND hold.status = 'captured'
    WHERE charge.org_id = used_of_pool.org_id AND charge.created_at >= until
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.used_of_pool FROM PUBLIC;
