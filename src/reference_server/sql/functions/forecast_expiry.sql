-- How many credits expire before they can be used at a rate a day: lots are used one after the other, the
-- soonest to expire first, each until it is empty or over.
CREATE OR REPLACE FUNCTION ledger.forecast_expiry(
  org_id TEXT, person public.users, credits_per_day BIGINT, moment TIMESTAMPTZ
) RETURNS BIGINT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _lot RECORD;
  _used NUMERIC;
  _days NUMERIC := 0;
  _expiring NUMERIC := 0;
BEGIN
  FOR _lot IN
    SELECT lot.rest, greatest(extract(EPOCH FROM lot.expires_at - moment) / 86400, 0) AS ends
    FROM ledger.lots_of_pool(forecast_expiry.org_id) AS lot
    WHERE forecast_expiry.org_id IS NOT NULL AND lot.expires_at IS NOT NULL
    UNION ALL
    SELECT lot.rest, greatest(extract(EPOCH FROM lot.expires_at - moment) / 86400, 0)
    FROM ledger.lots_of_balance(person) AS lot
    WHERE forecast_expiry.org_id IS NULL AND lot.expires_at IS NOT NULL
    ORDER BY ends
  LOOP
    _used := least(_lot.rest, greatest(_lot.ends - _days, 0) * credits_per_day);
    _expiring := _expiring + _lot.rest - _used;
    _days := _days + _used / nullif(credits_per_day, 0);
    _days := coalesce(_days, 0);
  END LOOP;
  RETURN round(_expiring);
END;
$$;

REVOKE ALL ON FUNCTION ledger.forecast_expiry FROM PUBLIC;
