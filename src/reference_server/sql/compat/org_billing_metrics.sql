-- What each service took from each organisation. Refunds are subtracted from credits, not from counts.
CREATE OR REPLACE VIEW org_billing_metrics WITH (security_invoker = TRUE) AS
SELECT
  charge.org_id,
  charge.service_type,
  count(*) FILTER (WHERE charge.refund_of IS NULL) AS charges,
  sum(charge.credits_used)::BIGINT AS credits_used,
  coalesce(
    sum(charge.credits_used) FILTER (WHERE charge.created_at >= ledger.now() - INTERVAL '30 days'), 0
  )::BIGINT AS credits_used_last_30_days,
  count(DISTINCT charge.user_id) AS users,
  sum(charge.total_cost) AS total_cost,
  min(charge.created_at) AS first_used_at,
  max(charge.created_at) AS last_used_at
FROM credit_usage_attribution AS charge
GROUP BY charge.org_id, charge.service_type;

GRANT SELECT ON org_billing_metrics TO credits_app;
