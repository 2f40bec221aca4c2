-- Look at every figure that is watched, raise an alert for each new crossing, and clear those that are over.
--
-- Invariant: a threshold fires once for each crossing. One process looks at a time, so that none acts on
-- figures from before another one's alerts; and a unique key allows one open alert for a figure. Alerts and
-- what is to be sent of them are written together. `seconds` and `usage_seconds` are how long ago the last
-- round, and the last one over the charges, must be at least; otherwise nothing is done.
CREATE OR REPLACE FUNCTION alerts.detect(
  seconds INTEGER DEFAULT 0, usage_seconds INTEGER DEFAULT 0, OUT raised BIGINT, OUT cleared BIGINT
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _over_usage BOOLEAN;
BEGIN
  raised := 0;
  cleared := 0;
  UPDATE public.alert_rounds AS round
  SET began_at = _now
  WHERE round.kind = 'balances' AND round.began_at <= _now - make_interval(secs => detect.seconds);
  IF NOT FOUND THEN
    RETURN;
  END IF;
  UPDATE public.alert_rounds AS round
  SET began_at = _now
  WHERE round.kind = 'usage' AND round.began_at <= _now - make_interval(secs => detect.usage_seconds);
  _over_usage := FOUND;

  WITH crossed AS MATERIALIZED (
    SELECT figure.* FROM alerts.figures(_over_usage) AS figure WHERE figure.is_crossed
  ), over AS (
    UPDATE public.credit_alerts AS alert
    SET cleared_at = _now
    WHERE alert.cleared_at IS NULL
      AND alert.kind <> 'top_up.failed'
      AND (_over_usage OR alert.kind NOT IN ('spend.spike', 'exhaustion.near'))
      AND NOT EXISTS (
        SELECT FROM crossed
        WHERE coalesce(crossed.org_id, '') = coalesce(alert.org_id, '')
          AND crossed.kind = alert.kind
          AND crossed.subject = alert.subject
      )
    RETURNING alert.id
  ), fresh AS (
    INSERT INTO public.credit_alerts (org_id, kind, subject, threshold, value, raised_at)
    SELECT crossed.org_id, crossed.kind, crossed.subject, crossed.threshold, crossed.value, _now
    FROM crossed
    ON CONFLICT (coalesce(org_id, ''), kind, subject) WHERE cleared_at IS NULL DO NOTHING
    RETURNING *
  ), sent AS MATERIALIZED (
    SELECT alerts.announce(fresh) FROM fresh
  )
  SELECT (SELECT count(*) FROM sent), (SELECT count(*) FROM over) INTO raised, cleared;
END;
$$;

REVOKE ALL ON FUNCTION alerts.detect FROM PUBLIC;
GRANT EXECUTE ON FUNCTION alerts.detect TO credits_app;
