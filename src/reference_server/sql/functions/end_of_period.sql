-- When a period that begins at `began_at` ends: on the same day, months later, in UTC. A period that began
-- on the last day of a short month ends on the day of `anchor`, with which the subscription began: from
-- 31 January to 28 February to 31 March. NULL for a custom cycle.
CREATE OR REPLACE FUNCTION ledger.end_of_period(
  began_at TIMESTAMPTZ, billing_cycle TEXT, anchor TIMESTAMPTZ
) RETURNS TIMESTAMPTZ
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _began TIMESTAMP := end_of_period.began_at AT TIME ZONE 'UTC';
  _length CONSTANT INTERVAL := make_interval(months => ledger.months_of_cycle(end_of_period.billing_cycle));
  _ends TIMESTAMP := _began + _length;
  _day CONSTANT INTEGER := extract(DAY FROM end_of_period.anchor AT TIME ZONE 'UTC');
  _last_day INTEGER;
BEGIN
  IF date_trunc('month', _began) <> date_trunc('month', _began + INTERVAL '1 day') THEN
    _last_day := extract(DAY FROM date_trunc('month', _ends) + INTERVAL '1 month' - INTERVAL '1 day');
    _ends := _ends + make_interval(days => greatest(least(_day, _last_day) - extract(DAY FROM _ends)::INTEGER, 0));
  END IF;
  RETURN _ends AT TIME ZONE 'UTC';
END;
$$;

REVOKE ALL ON FUNCTION ledger.end_of_period FROM PUBLIC;
