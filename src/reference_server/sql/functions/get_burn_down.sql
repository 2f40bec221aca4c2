-- What an organisation had left at the end of each of the last days (UTC), the present one included: what is
-- left now, with what was charged since then given back and what was added since then taken away.
CREATE OR REPLACE FUNCTION ledger.get_burn_down(org_id TEXT, days INTEGER DEFAULT 30, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _today CONSTANT DATE := (ledger.now() AT TIME ZONE 'UTC')::DATE;
  _first CONSTANT DATE := _today - get_burn_down.days + 1;
  _since CONSTANT TIMESTAMPTZ := (_first + 1) AT TIME ZONE 'UTC';
BEGIN
  IF (get_burn_down.days BETWEEN 1 AND 366) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'days must be 1 to 366.'));
  END IF;
  PERFORM ledger.require_organization(get_burn_down.org_id);

  WITH change AS (
    SELECT (event.created_at AT TIME ZONE 'UTC')::DATE AS day, event.credits
    FROM public.org_billing_history AS event
    WHERE
      event.org_id = get_burn_down.org_id
      AND event.event_type IN (
        'credit_purchase', 'credit_grant', 'pool_refresh', 'credit_refund', 'credit_expired'
      )
      AND event.created_at >= _since
    UNION ALL
    SELECT (charge.created_at AT TIME ZONE 'UTC')::DATE, -charge.credits_used
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = get_burn_down.org_id AND charge.created_at >= _since
  ), moved AS (
    SELECT change.day, sum(change.credits) AS credits FROM change GROUP BY change.day
  ), line AS (
    SELECT
      (_today - since.number) AS day,
      coalesce(
        (
          SELECT pool.total_credits - pool.used_credits
          FROM public.organization_credit_pools AS pool
          WHERE pool.org_id = get_burn_down.org_id
        ),
        0
      ) - coalesce(sum(moved.credits), 0) AS remaining_credits
    FROM generate_series(0, get_burn_down.days - 1) AS since (number)
    LEFT JOIN moved ON moved.day > _today - since.number
    GROUP BY since.number
  )
  SELECT jsonb_build_object(
    'org_id', get_burn_down.org_id,
    'by_day', jsonb_agg(to_jsonb(line) ORDER BY line.day)
  ) INTO document
  FROM line;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_burn_down FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_burn_down TO credits_app;
