-- What counts against a cap at a moment: what it has counted, until its window is over. A clock that is set
-- back opens no earlier window again.
CREATE OR REPLACE FUNCTION ledger.used_of_cap(
  period TEXT, window_start TIMESTAMPTZ, used_credits BIGINT, moment TIMESTAMPTZ
) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN window_start >= ledger.cap_window(used_of_cap.period, moment) THEN used_credits
  ELSE 0
END;

REVOKE ALL ON FUNCTION ledger.used_of_cap FROM PUBLIC;
