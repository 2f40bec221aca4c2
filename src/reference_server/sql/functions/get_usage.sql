-- An organisation's usage of the last days, by service, member and day (UTC), from one pass over the
-- rows. Refunds are subtracted from credits, not from counts.
CREATE OR REPLACE FUNCTION ledger.get_usage(org_id TEXT, days INTEGER DEFAULT 30, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _since CONSTANT TIMESTAMPTZ := ledger.now() - make_interval(days => get_usage.days);
BEGIN
  IF (get_usage.days BETWEEN 1 AND 366) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'days must be 1 to 366.'));
  END IF;
  PERFORM ledger.require_organization(get_usage.org_id);

  WITH charge AS (
    SELECT
      charge.service_type, charge.user_id, charge.credits_used, charge.refund_of,
      (charge.created_at AT TIME ZONE 'UTC')::DATE AS day
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = get_usage.org_id AND charge.created_at >= _since
  ), total AS (
    SELECT
      charge.service_type, charge.user_id, charge.day,
      grouping(charge.service_type, charge.user_id, charge.day) AS omitted,
      coalesce(sum(charge.credits_used), 0)::BIGINT AS credits_used,
      count(*) FILTER (WHERE charge.refund_of IS NULL) AS charges
    FROM charge
    GROUP BY GROUPING SETS ((charge.service_type), (charge.user_id), (charge.day), ())
  )
  SELECT jsonb_build_object(
    'org_id', get_usage.org_id,
    'days', get_usage.days,
    'since', _since,
    'total_credits_used', sum(total.credits_used) FILTER (WHERE total.omitted = 7),
    'total_charges', sum(total.charges) FILTER (WHERE total.omitted = 7),
    'by_service', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'service_type', total.service_type, 'credits_used', total.credits_used, 'charges', total.charges
        ) ORDER BY total.credits_used DESC, total.service_type
      ) FILTER (WHERE total.omitted = 3),
      '[]'
    ),
    'by_user', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'user_id', total.user_id, 'credits_used', total.credits_used, 'charges', total.charges
        ) ORDER BY total.credits_used DESC, total.user_id
      ) FILTER (WHERE total.omitted = 5),
      '[]'
    ),
    'by_day', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'day', total.day, 'credits_used', total.credits_used, 'charges', total.charges
        ) ORDER BY total.day
      ) FILTER (WHERE total.omitted = 6),
      '[]'
    )
  ) INTO document
  FROM total;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_usage TO credits_app;
