-- What was asked of a lot, as it is kept with the event or transaction that gives it: a repeated request is
-- held against it. NULL where no lot was asked for.
CREATE OR REPLACE FUNCTION ledger.lot_terms(expires_at TIMESTAMPTZ, expires_in_days INTEGER, priority INTEGER)
RETURNS JSONB
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT nullif(
  jsonb_strip_nulls(jsonb_build_object(
    'expires_at', lot_terms.expires_at AT TIME ZONE 'UTC',
    'expires_in_days', lot_terms.expires_in_days,
    'priority', lot_terms.priority
  )),
  '{}'
)
$$;

REVOKE ALL ON FUNCTION ledger.lot_terms FROM PUBLIC;
