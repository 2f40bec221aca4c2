-- The body of an alert's webhook: `type`, `timestamp` and `data`, as Standard Webhooks has it. Amounts are
-- credits; `value` and `threshold` of spend.spike are multiples of what is usual, of exhaustion.near days.
CREATE OR REPLACE FUNCTION alerts.payload(alert public.credit_alerts) RETURNS TEXT
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT json_build_object(
  'type', (alert).kind,
  'timestamp', to_char((alert).raised_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'data', json_strip_nulls(json_build_object(
    'alert_id', (alert).id,
    'org_id', (alert).org_id,
    'user_id', nullif((alert).subject, ''),
    'threshold', trim_scale((alert).threshold::NUMERIC / 1000),
    'value', trim_scale((alert).value::NUMERIC / 1000),
    'detail', (alert).detail
  ))
)::TEXT
$$;

REVOKE ALL ON FUNCTION alerts.payload FROM PUBLIC;
