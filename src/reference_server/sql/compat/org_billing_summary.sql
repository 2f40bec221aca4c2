-- The billing of each organisation on one line: the subscription that it has now (as
-- `ledger.current_subscription` chooses it), its pool, its members, its last 30 days.
CREATE OR REPLACE VIEW org_billing_summary WITH (security_invoker = TRUE) AS
SELECT
  organization.id AS org_id,
  organization.name AS org_name,
  organization.display_name,
  organization.plan_tier,
  organization.status,
  subscription.subscription_plan,
  subscription.monthly_price,
  subscription.status AS subscription_status,
  coalesce(pool.total_credits, 0) AS total_credits,
  coalesce(pool.allocated_credits, 0) AS allocated_credits,
  coalesce(pool.used_credits, 0) AS used_credits,
  coalesce(pool.available_credits, 0) AS available_credits,
  coalesce(pool.lifetime_purchased_credits, 0) AS lifetime_purchased_credits,
  coalesce(pool.lifetime_spent_amount, 0) AS lifetime_spent_amount,
  (
    SELECT count(*)
    FROM organization_members AS member
    WHERE member.org_id = organization.id
  ) AS member_count,
  (
    SELECT count(*)
    FROM user_credit_allocations AS allocation
    WHERE allocation.org_id = organization.id AND allocation.is_active
  ) AS active_allocations,
  (
    SELECT coalesce(sum(charge.credits_used), 0)::BIGINT
    FROM credit_usage_attribution AS charge
    WHERE charge.org_id = organization.id AND charge.created_at >= ledger.now() - INTERVAL '30 days'
  ) AS credits_used_last_30_days
FROM organizations AS organization
LEFT JOIN LATERAL (
  SELECT
    running.subscription_plan,
    running.monthly_price,
    running.status
  FROM organization_subscriptions AS running
  WHERE running.org_id = organization.id AND running.status IN ('active', 'trialing', 'past_due')
  ORDER BY running.status = 'past_due', running.created_at DESC
  LIMIT 1
) AS subscription ON TRUE
LEFT JOIN organization_credit_pools AS pool ON pool.org_id = organization.id;

GRANT SELECT ON org_billing_summary TO credits_app;
