-- When the hour, day or month (UTC) began in which a moment is; NULL for single calls.
CREATE OR REPLACE FUNCTION ledger.cap_window(period TEXT, moment TIMESTAMPTZ) RETURNS TIMESTAMPTZ
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN cap_window.period <> 'call' THEN date_trunc(cap_window.period, moment AT TIME ZONE 'UTC')
END AT TIME ZONE 'UTC';

REVOKE ALL ON FUNCTION ledger.cap_window FROM PUBLIC;
