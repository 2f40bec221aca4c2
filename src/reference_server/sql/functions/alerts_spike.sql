-- What was spent today (UTC), in thousandths of what is usual: the average of the last 14 whole days, or of
-- those since the first charge. NULL for fewer than 7 such days and where nothing is usual, so that nothing
-- fires without a history. Refunds are subtracted.
CREATE OR REPLACE FUNCTION alerts.spike(org_id TEXT, user_id TEXT) RETURNS BIGINT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _today CONSTANT TIMESTAMPTZ := date_trunc('day', ledger.now(), 'UTC');
  _spent BIGINT;
  _before BIGINT;
  _days INTEGER;
BEGIN
  SELECT
    coalesce(sum(charge.credits_used) FILTER (WHERE charge.created_at >= _today), 0),
    coalesce(sum(charge.credits_used) FILTER (WHERE charge.created_at < _today), 0),
    least((extract(EPOCH FROM _today - date_trunc('day', min(charge.created_at), 'UTC')) / 86400)::INTEGER, 14)
  INTO _spent, _before, _days
  FROM public.credit_usage_attribution AS charge
  WHERE charge.org_id = spike.org_id
    AND charge.created_at >= _today - INTERVAL '14 days'
    AND (spike.user_id = '' OR charge.user_id = spike.user_id);
  IF _days >= 7 AND _before > 0 THEN
    RETURN round(_spent * 1000::NUMERIC * _days / _before);
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION alerts.spike FROM PUBLIC;
