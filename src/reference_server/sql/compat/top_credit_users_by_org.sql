-- The members of each organisation by what they have used, the largest first; all periods together.
CREATE OR REPLACE VIEW top_credit_users_by_org WITH (security_invoker = TRUE) AS
SELECT
  allocation.org_id,
  organization.name AS org_name,
  allocation.user_id,
  allocation.allocated_credits,
  allocation.used_credits,
  allocation.remaining_credits,
  allocation.settled_credits + allocation.used_credits AS lifetime_used_credits,
  round(100.0 * allocation.used_credits / nullif(allocation.allocated_credits, 0), 2) AS used_percent,
  rank() OVER (
    PARTITION BY allocation.org_id
    ORDER BY allocation.settled_credits + allocation.used_credits DESC
  ) AS usage_rank
FROM user_credit_allocations AS allocation
INNER JOIN organizations AS organization ON organization.id = allocation.org_id;

GRANT SELECT ON top_credit_users_by_org TO credits_app;
