-- Subscriptions with trials, and what happens when a period is over.

-- A trial counts as the subscription that an organisation has: there is one of the two at most.
DROP INDEX organization_subscriptions_one_active_of_org;
CREATE UNIQUE INDEX organization_subscriptions_one_active_of_org
ON organization_subscriptions (org_id) WHERE status IN ('active', 'trialing');

-- What the last reset could not refill because the pool had no more. What an allocation is refilled up to
-- is `allocated_credits + shortfall_credits`, which a reset leaves as it is: what is allocated in between
-- raises it, and a shortfall is made good by a later reset. Negative while open holds keep more.
ALTER TABLE user_credit_allocations ADD COLUMN shortfall_credits BIGINT NOT NULL DEFAULT 0;

-- Charges change neither column, so they do not touch this index.
CREATE INDEX user_credit_allocations_due ON user_credit_allocations (next_reset_date)
WHERE reset_period <> 'never';
CREATE INDEX credit_pools_due ON credit_pools (next_refresh_date) WHERE monthly_refresh_amount > 0;

-- What functions answer: the fields of the results in `credit_sdk.models`.
CREATE TYPE ledger.subscription AS (
  subscription_id UUID,
  org_id TEXT,
  subscription_plan TEXT,
  monthly_price NUMERIC,
  billing_cycle TEXT,
  status TEXT,
  trial_ends_at TIMESTAMPTZ,
  current_period_start TIMESTAMPTZ,
  current_period_end TIMESTAMPTZ,
  canceled_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ,
  updated_at TIMESTAMPTZ
);

CREATE TYPE ledger.member AS (
  org_id TEXT,
  user_id TEXT,
  user_email TEXT,
  name TEXT,
  role TEXT,
  is_default BOOLEAN,
  joined_at TIMESTAMPTZ,
  allocated_credits BIGINT,
  used_credits BIGINT,
  remaining_credits BIGINT
);
