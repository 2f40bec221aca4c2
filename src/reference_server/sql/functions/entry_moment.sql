-- A time as it is digested: in UTC, to the microsecond.
CREATE OR REPLACE FUNCTION ledger.entry_moment(moment TIMESTAMPTZ) RETURNS TEXT
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

REVOKE ALL ON FUNCTION ledger.entry_moment FROM PUBLIC;
