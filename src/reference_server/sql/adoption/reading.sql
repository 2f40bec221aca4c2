-- Views over the views `old_*`, for the files beside this one.
-- noqa: disable=aliasing.expression,aliasing.unique.column

-- Where organisations are named.
CREATE TEMPORARY VIEW old_org_ids AS
SELECT
  'organization_members' AS place,
  member.org_id
FROM old_organization_members AS member
UNION
SELECT
  'organization_subscriptions',
  subscription.org_id
FROM old_organization_subscriptions AS subscription
UNION
SELECT
  'organization_credit_pools',
  pool.org_id
FROM old_organization_credit_pools AS pool
UNION
SELECT
  'user_credit_allocations',
  allocation.org_id
FROM old_user_credit_allocations AS allocation
UNION
SELECT
  'credit_usage_attribution',
  charge.org_id
FROM old_credit_usage_attribution AS charge
UNION
SELECT
  'org_billing_history',
  event.org_id
FROM old_org_billing_history AS event;

-- What each member used: what was attributed, or what the allocation says where that is more, as of a time
-- before there was attribution. `settled_credits` is what was used before the last reset.
CREATE TEMPORARY VIEW old_accounts AS
WITH used AS (
  SELECT
    charge.org_id,
    charge.user_id,
    sum(charge.credits_used)::BIGINT AS credits
  FROM old_credit_usage_attribution AS charge
  GROUP BY charge.org_id, charge.user_id
)

SELECT
  coalesce(allocation.org_id, used.org_id) AS org_id,
  coalesce(allocation.user_id, used.user_id) AS user_id,
  allocation.id,
  coalesce(allocation.used_credits, 0) AS used_credits,
  greatest(coalesce(used.credits, 0) - coalesce(allocation.used_credits, 0), 0) AS settled_credits,
  greatest(coalesce(allocation.used_credits, 0) - coalesce(used.credits, 0), 0) AS opening_credits
FROM old_user_credit_allocations AS allocation
FULL JOIN used ON used.org_id = allocation.org_id AND used.user_id = allocation.user_id;

CREATE TEMPORARY VIEW old_used AS
SELECT
  account.org_id,
  sum(account.settled_credits + account.used_credits)::BIGINT AS credits,
  sum(account.settled_credits)::BIGINT AS settled_credits
FROM old_accounts AS account
GROUP BY account.org_id;
