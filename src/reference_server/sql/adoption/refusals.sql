-- What of the first system's rows could not be carried over as they are: each answers the table and column,
-- what is wrong, how many rows it is about and one of them. Reads the views `old_*` of `adoption.shapes`.
-- noqa: disable=aliasing.expression,aliasing.unique.column
WITH used_twice AS (
  SELECT
    charge.org_id,
    charge.request_id,
    count(*) AS charges
  FROM old_credit_usage_attribution AS charge
  WHERE charge.request_id IS NOT NULL
  GROUP BY charge.org_id, charge.request_id
  HAVING count(*) > 1
),

owed AS (
  SELECT
    entry.user_id,
    sum(entry.amount) AS balance
  FROM old_credits_transactions AS entry
  GROUP BY entry.user_id
  HAVING sum(entry.amount) < 0
),

shares AS (
  SELECT
    allocation.org_id,
    sum(allocation.allocated_credits) AS allocated
  FROM old_user_credit_allocations AS allocation
  GROUP BY allocation.org_id
),

problem (place, reason, example) AS (
  SELECT
    'organizations.id',
    'longer than the 36 characters of an id',
    organization.id
  FROM old_organizations AS organization
  WHERE length(organization.id) > 36
  UNION ALL
  SELECT
    'organizations.name',
    'missing or used twice',
    min(organization.id)
  FROM old_organizations AS organization
  GROUP BY organization.name
  HAVING count(*) > 1 OR organization.name IS NULL
  UNION ALL
  SELECT
    'organizations.status',
    'none of active, suspended, deleted',
    organization.id || ': ' || organization.status
  FROM old_organizations AS organization
  WHERE organization.status NOT IN ('active', 'suspended', 'deleted')
  UNION ALL
  SELECT
    'organization_members.role',
    'none of owner, admin, billing_admin, member',
    member.user_id || ': ' || member.role
  FROM old_organization_members AS member
  WHERE member.role NOT IN ('owner', 'admin', 'billing_admin', 'member')
  UNION ALL
  SELECT
    'organization_members.user_id',
    'twice in one organisation',
    min(member.user_id)
  FROM old_organization_members AS member
  GROUP BY member.org_id, member.user_id
  HAVING count(*) > 1
  UNION ALL
  SELECT
    'organization_subscriptions.status',
    'more than one subscription of an organisation is active or trialing',
    subscription.org_id
  FROM old_organization_subscriptions AS subscription
  WHERE coalesce(subscription.status, 'active') IN ('active', 'trialing')
  GROUP BY subscription.org_id
  HAVING count(*) > 1
  UNION ALL
  SELECT
    'organization_credit_pools.total_credits',
    'negative',
    pool.org_id
  FROM old_organization_credit_pools AS pool
  WHERE pool.total_credits < 0
  UNION ALL
  SELECT
    'organization_credit_pools.total_credits',
    'less than its members are allocated',
    shares.org_id
  FROM shares
  LEFT JOIN old_organization_credit_pools AS pool ON pool.org_id = shares.org_id
  WHERE coalesce(pool.total_credits, 0) < shares.allocated
  UNION ALL
  SELECT
    'organization_credit_pools.allocated_credits',
    'not the sum of what its members are allocated',
    format('%s: %s instead of %s', pool.org_id, pool.allocated_credits, coalesce(shares.allocated, 0))
  FROM old_organization_credit_pools AS pool
  LEFT JOIN shares ON shares.org_id = pool.org_id
  WHERE pool.allocated_credits <> coalesce(shares.allocated, 0)
  UNION ALL
  SELECT
    'organization_credit_pools.used_credits',
    'not the sum of what its members used',
    format('%s: %s instead of %s', pool.org_id, pool.used_credits, coalesce(used.credits, 0))
  FROM old_organization_credit_pools AS pool
  LEFT JOIN old_used AS used ON used.org_id = pool.org_id
  WHERE pool.used_credits <> coalesce(used.credits, 0)
  UNION ALL
  SELECT
    'user_credit_allocations.allocated_credits',
    'negative',
    allocation.user_id
  FROM old_user_credit_allocations AS allocation
  WHERE allocation.allocated_credits < 0
  UNION ALL
  SELECT
    'user_credit_allocations.user_id',
    'twice in one organisation',
    min(allocation.user_id)
  FROM old_user_credit_allocations AS allocation
  GROUP BY allocation.org_id, allocation.user_id
  HAVING count(*) > 1
  UNION ALL
  SELECT
    'user_credit_allocations.reset_period',
    'none of daily, weekly, monthly, never',
    allocation.user_id || ': ' || allocation.reset_period
  FROM old_user_credit_allocations AS allocation
  WHERE allocation.reset_period NOT IN ('daily', 'weekly', 'monthly', 'never')
  UNION ALL
  SELECT
    'credit_usage_attribution.request_id',
    'used by more than one charge of an organisation',
    used_twice.org_id || ': ' || used_twice.request_id
  FROM used_twice
  UNION ALL
  SELECT
    'credit_usage_attribution.allocation_id',
    'of another organisation or user, or of none',
    charge.id::TEXT
  FROM old_credit_usage_attribution AS charge
  LEFT JOIN old_user_credit_allocations AS allocation ON allocation.id = charge.allocation_id
  WHERE
    charge.allocation_id IS NOT NULL
    AND (allocation.org_id, allocation.user_id) IS DISTINCT FROM (charge.org_id, charge.user_id)
  UNION ALL
  SELECT
    'org_billing_history.event_type',
    'not one that the ledger knows',
    event.id || ': ' || event.event_type
  FROM old_org_billing_history AS event
  WHERE
    event.event_type NOT IN (
      'invoice_created', 'invoice_paid', 'invoice_failed',
      'subscription_created', 'subscription_upgraded', 'subscription_downgraded', 'subscription_canceled',
      'credit_purchase', 'credit_refund', 'overage_charged'
    )
  UNION ALL
  SELECT
    entry.place || '.org_id',
    'there is no such organisation',
    entry.org_id
  FROM old_org_ids AS entry
  WHERE
    EXISTS (
      SELECT FROM old_tables AS known
      WHERE known.name = 'organizations'
    )
    AND entry.org_id NOT IN (SELECT organization.id FROM old_organizations AS organization)
  UNION ALL
  SELECT
    'users.email',
    'missing or used twice',
    min(person.id)::TEXT
  FROM old_users AS person
  GROUP BY person.email
  HAVING count(*) > 1 OR person.email IS NULL
  UNION ALL
  SELECT
    'users.credits',
    'negative',
    person.id::TEXT
  FROM old_users AS person
  WHERE person.credits < 0
  UNION ALL
  SELECT
    'users.user_type',
    'none of customer, admin, service',
    person.id || ': ' || person.user_type
  FROM old_users AS person
  WHERE person.user_type NOT IN ('customer', 'admin', 'service')
  UNION ALL
  SELECT
    'credits_transactions.user_id',
    'there is no such user',
    entry.id::TEXT
  FROM old_credits_transactions AS entry
  LEFT JOIN old_users AS person ON person.id = entry.user_id
  WHERE person.id IS NULL
  UNION ALL
  SELECT
    'credits_transactions.amount',
    'negative in sum, for a user',
    owed.user_id || ': ' || owed.balance
  FROM owed
  UNION ALL
  SELECT
    'credits_transactions.amount',
    'zero, or finer than 0.001 credits',
    entry.id::TEXT
  FROM old_credits_transactions AS entry
  WHERE entry.amount = 0 OR entry.amount <> round(entry.amount, 3)
  UNION ALL
  SELECT
    'credits_transactions.transaction_type',
    'none of service, credit_addition, purchase, refund, subscription',
    entry.id || ': ' || entry.transaction_type
  FROM old_credits_transactions AS entry
  WHERE entry.transaction_type NOT IN ('service', 'credit_addition', 'purchase', 'refund', 'subscription')
  UNION ALL
  SELECT
    'credits_transactions.request_id',
    'used twice by a user',
    min(entry.id)::TEXT
  FROM old_credits_transactions AS entry
  WHERE entry.request_id IS NOT NULL
  GROUP BY entry.user_id, entry.request_id
  HAVING count(*) > 1
)

SELECT
  problem.place,
  problem.reason,
  count(*) AS found,
  min(problem.example) AS example
FROM problem
GROUP BY problem.place, problem.reason
ORDER BY problem.place, problem.reason;
