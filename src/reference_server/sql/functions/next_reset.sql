-- When an allocation starts afresh: at the next day, Monday or first of a month in UTC; NULL for never.
CREATE OR REPLACE FUNCTION ledger.next_reset(reset_period TEXT, moment TIMESTAMPTZ) RETURNS TIMESTAMPTZ
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE next_reset.reset_period
  WHEN 'daily' THEN date_trunc('day', moment AT TIME ZONE 'UTC') + INTERVAL '1 day'
  WHEN 'weekly' THEN date_trunc('week', moment AT TIME ZONE 'UTC') + INTERVAL '1 week'
  WHEN 'monthly' THEN date_trunc('month', moment AT TIME ZONE 'UTC') + INTERVAL '1 month'
END AT TIME ZONE 'UTC';

REVOKE ALL ON FUNCTION ledger.next_reset FROM PUBLIC;
