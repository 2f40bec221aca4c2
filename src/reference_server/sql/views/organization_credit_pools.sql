-- Invariant: available = total - settled - allocated, at every moment and without a row that charges share.
CREATE OR REPLACE VIEW organization_credit_pools WITH (security_invoker = TRUE) AS
SELECT
  pool.org_id,
  pool.total_credits,
  shares.allocated_credits,
  shares.settled_credits + shares.used_credits AS used_credits,
  shares.settled_credits,
  pool.total_credits - shares.settled_credits - shares.allocated_credits AS available_credits,
  pool.monthly_refresh_amount,
  pool.last_refresh_date,
  pool.next_refresh_date,
  pool.allow_overage,
  pool.overage_limit,
  pool.overage_rate,
  pool.lifetime_purchased_credits,
  pool.lifetime_spent_amount,
  pool.created_at,
  pool.updated_at
FROM credit_pools AS pool
CROSS JOIN LATERAL (
  SELECT
    coalesce(sum(allocation.allocated_credits), 0)::BIGINT AS allocated_credits,
    coalesce(sum(allocation.used_credits), 0)::BIGINT AS used_credits,
    coalesce(sum(allocation.settled_credits), 0)::BIGINT AS settled_credits
  FROM user_credit_allocations AS allocation
  WHERE allocation.org_id = pool.org_id
) AS shares;

GRANT SELECT ON organization_credit_pools TO credits_app;
