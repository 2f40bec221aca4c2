-- What counts against caps from a moment on, as the books tell it: by whom, with which key, how much, when.
-- Refunds give nothing back: a cap bounds how fast is spent.
CREATE OR REPLACE FUNCTION ledger.spending_since(org_id TEXT, since TIMESTAMPTZ)
RETURNS TABLE (user_id TEXT, api_key_id TEXT, credits BIGINT, counted_at TIMESTAMPTZ)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT hold.user_id::TEXT, hold.api_key_id::TEXT, hold.credits::BIGINT, coalesce(hold.counted_at, hold.created_at)
  FROM public.credit_holds AS hold
  WHERE hold.org_id = spending_since.org_id
    AND hold.status = 'held'
    AND coalesce(hold.counted_at, hold.created_at) >= spending_since.since
  UNION ALL
  SELECT charge.user_id::TEXT, charge.api_key_id::TEXT, part.credits, part.counted_at
  FROM public.credit_usage_attribution AS charge
  LEFT JOIN public.credit_holds AS hold ON hold.id = charge.hold_id AND hold.org_id = charge.org_id
  CROSS JOIN LATERAL (
    SELECT
      CASE
        -- Parts are charged in time, out of what the hold had then.
        WHEN charge.request_id <> hold.request_id THEN charge.credits_used
        WHEN charge.created_at < hold.expires_at THEN least(charge.credits_used, hold.credits)
        ELSE 0
      END AS credits,
      coalesce(
        (
          SELECT max(extension.created_at)
          FROM public.credit_hold_extensions AS extension
          WHERE hold.counted_at IS NOT NULL
            AND extension.org_id = hold.org_id
            AND extension.hold_id = hold.id
            AND extension.credits > 0
            AND extension.created_at <= charge.created_at
        ),
        hold.created_at
      ) AS counted_at
  ) AS in_time
  CROSS JOIN LATERAL (
    VALUES
    (in_time.credits, in_time.counted_at),
    (charge.credits_used - in_time.credits, charge.created_at)
  ) AS part (credits, counted_at)
  WHERE charge.org_id = spending_since.org_id
    AND charge.created_at >= spending_since.since
    AND charge.refund_of IS NULL
    AND part.counted_at >= spending_since.since;
END;
$$;

REVOKE ALL ON FUNCTION ledger.spending_since FROM PUBLIC;
