-- When credits run out if they are spent on as they were: what is left, divided by what was spent a day.
--
-- Counted are the last `days` (30 by default), or the time since the first charge if that is shorter, but at
-- least one day. Refunds are subtracted. Without an organisation it is about a user's own balance; with one
-- and without a user about all that the organisation has left, allocated or not. Nobody who spends nothing
-- runs out: `days_left` is NULL then. What expires before it can be used at that rate is `expiring_credits`.
-- Dashboards, alerts and `get_forecast` all ask here.
CREATE OR REPLACE FUNCTION ledger.forecast(
  org_id TEXT, user_id TEXT DEFAULT NULL, days INTEGER DEFAULT 30
) RETURNS ledger.forecast
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _spent BIGINT;
  _first TIMESTAMPTZ;
  _person public.users;
  _forecast ledger.forecast;
BEGIN
  IF forecast.org_id IS NULL THEN
    _person := ledger.find_user(forecast.user_id);
    _forecast.remaining_credits := (_person.credits * 1000)::BIGINT;
    SELECT coalesce(-sum(entry.amount) * 1000, 0)::BIGINT, min(entry.created_at) INTO _spent, _first
    FROM public.credits_transactions AS entry
    WHERE entry.user_id = _person.id
      AND entry.created_at > _now - make_interval(days => forecast.days)
      AND (entry.transaction_type = 'service' OR entry.refund_of IS NOT NULL);
  ELSE
    IF forecast.user_id IS NULL THEN
      SELECT pool.total_credits - pool.used_credits INTO _forecast.remaining_credits
      FROM public.organization_credit_pools AS pool
      WHERE pool.org_id = forecast.org_id;
    ELSE
      SELECT allocation.remaining_credits INTO _forecast.remaining_credits
      FROM public.user_credit_allocations AS allocation
      WHERE allocation.org_id = forecast.org_id AND allocation.user_id = forecast.user_id;
    END IF;
    SELECT coalesce(sum(charge.credits_used), 0)::BIGINT, min(charge.created_at) INTO _spent, _first
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = forecast.org_id
      AND charge.created_at > _now - make_interval(days => forecast.days)
      AND (forecast.user_id IS NULL OR charge.user_id = forecast.user_id);
  END IF;

  _forecast.org_id := forecast.org_id;
  _forecast.user_id := coalesce(ledger.user_name(_person), forecast.user_id);
  _forecast.remaining_credits := coalesce(_forecast.remaining_credits, 0);
  _forecast.observed_days := round(
    coalesce(greatest(extract(EPOCH FROM _now - _first) / 86400, 1), forecast.days), 3
  );
  _forecast.credits_per_day := round(greatest(_spent, 0) / _forecast.observed_days);
  IF forecast.org_id IS NULL OR forecast.user_id IS NULL THEN
    _forecast.expiring_credits := ledger.forecast_expiry(
      forecast.org_id, _person, _forecast.credits_per_day, _now
    );
  END IF;
  IF _forecast.credits_per_day > 0 THEN
    _forecast.days_left := round(
      greatest(_forecast.remaining_credits - coalesce(_forecast.expiring_credits, 0), 0)::NUMERIC
      / _forecast.credits_per_day,
      3
    );
    IF _forecast.days_left < 36500 THEN
      _forecast.exhausted_at := _now + _forecast.days_left::DOUBLE PRECISION * INTERVAL '1 day';
    END IF;
  END IF;
  RETURN _forecast;
END;
$$;

REVOKE ALL ON FUNCTION ledger.forecast FROM PUBLIC;
