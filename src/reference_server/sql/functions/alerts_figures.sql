-- Every figure that is watched, and whether it is on the wrong side of its threshold. What a member or user
-- has a rule of their own for is not looked at by the rule for everybody. Figures over many charges are left
-- out unless asked for: they are the dear ones.
CREATE OR REPLACE FUNCTION alerts.figures(over_usage BOOLEAN)
RETURNS TABLE (org_id TEXT, kind TEXT, subject TEXT, threshold BIGINT, value BIGINT, is_crossed BOOLEAN)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
WITH figure AS (
  SELECT rule.org_id, rule.kind, rule.subject, rule.threshold, pool.total_credits - pool.used_credits AS value
  FROM public.alert_rules AS rule
  INNER JOIN public.organization_credit_pools AS pool ON pool.org_id = rule.org_id
  WHERE rule.kind = 'pool.low'

  UNION ALL
  SELECT rule.org_id, rule.kind, allocation.user_id, rule.threshold, allocation.remaining_credits
  FROM public.alert_rules AS rule
  INNER JOIN public.user_credit_allocations AS allocation
    ON allocation.org_id = rule.org_id AND allocation.is_active
  WHERE rule.kind = 'allocation.low'
    AND alerts.is_ruled_by(rule, allocation.user_id)

  UNION ALL
  SELECT rule.org_id, rule.kind, ledger.user_name(person), rule.threshold, (person.credits * 1000)::BIGINT
  FROM public.alert_rules AS rule
  INNER JOIN public.users AS person ON person.is_active AND person.user_type = 'customer'
  WHERE rule.kind = 'balance.low'
    AND alerts.is_ruled_by(rule, ledger.user_name(person))

  UNION ALL
  SELECT rule.org_id, rule.kind, rule.subject, rule.threshold, alerts.spike(rule.org_id, rule.subject)
  FROM public.alert_rules AS rule
  WHERE rule.kind = 'spend.spike' AND figures.over_usage

  UNION ALL
  SELECT
    rule.org_id, rule.kind, rule.subject, rule.threshold,
    ((ledger.forecast(rule.org_id, nullif(rule.subject, ''))).days_left * 1000)::BIGINT
  FROM public.alert_rules AS rule
  WHERE rule.kind = 'exhaustion.near' AND figures.over_usage
)
SELECT
  figure.org_id, figure.kind, figure.subject, figure.threshold, figure.value,
  CASE
    WHEN figure.kind = 'spend.spike' THEN figure.value > figure.threshold
    ELSE figure.value < figure.threshold
  END IS TRUE
FROM figure
$$;

REVOKE ALL ON FUNCTION alerts.figures FROM PUBLIC;
