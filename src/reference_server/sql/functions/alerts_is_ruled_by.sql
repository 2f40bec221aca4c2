-- Whether a rule is the one for a member or user: their own, or the one for everybody if they have none.
CREATE OR REPLACE FUNCTION alerts.is_ruled_by(rule public.alert_rules, subject TEXT) RETURNS BOOLEAN
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT (rule).subject = is_ruled_by.subject OR (
  (rule).subject = '' AND NOT EXISTS (
    SELECT FROM public.alert_rules AS own
    WHERE coalesce(own.org_id, '') = coalesce((rule).org_id, '')
      AND own.kind = (rule).kind
      AND own.subject = is_ruled_by.subject
  )
)
$$;

REVOKE ALL ON FUNCTION alerts.is_ruled_by FROM PUBLIC;
