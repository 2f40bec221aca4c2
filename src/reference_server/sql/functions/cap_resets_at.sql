-- When the hour, day or month (UTC) ends in which a moment is; NULL for single calls.
CREATE OR REPLACE FUNCTION ledger.cap_resets_at(period TEXT, moment TIMESTAMPTZ) RETURNS TIMESTAMPTZ
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE cap_resets_at.period
  WHEN 'hour' THEN date_trunc('hour', moment AT TIME ZONE 'UTC') + INTERVAL '1 hour'
  WHEN 'day' THEN date_trunc('day', moment AT TIME ZONE 'UTC') + INTERVAL '1 day'
  WHEN 'month' THEN date_trunc('month', moment AT TIME ZONE 'UTC') + INTERVAL '1 month'
END AT TIME ZONE 'UTC';

REVOKE ALL ON FUNCTION ledger.cap_resets_at FROM PUBLIC;
