-- The organisation ledger: who owns credits, who may spend them, and every use of them.
--
-- Amounts are millicredits (1000 make one credit), in BIGINT. Every key carries `org_id`, so that the
-- tables can be distributed by it. Books outlive their owners: organisations are closed by `status`,
-- never deleted, and every foreign key is RESTRICT.
--
-- A charge writes two rows: its allocation and its attribution. It writes no row that the members of an
-- organisation share, so that their charges never wait for each other: the pool's figures are derived,
-- in the view `organization_credit_pools`.

-- The role of the server and the SDK: reads, and executes functions. Roles belong to the whole cluster,
-- so another database's migration may make it at the same moment.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'credits_app') THEN
    CREATE ROLE credits_app NOLOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    NULL;
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'The role credits_app does not exist, and % may not make it.', current_user
      USING
        ERRCODE = 'insufficient_privilege',
        HINT = 'Run this as a superuser once: CREATE ROLE credits_app NOLOGIN;';
END;
$$;

CREATE SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO credits_app;
GRANT USAGE ON SCHEMA public TO credits_app;

-- The only clock. It does not stand still within a transaction; tests replace it.
CREATE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE RETURN clock_timestamp();
REVOKE ALL ON FUNCTION ledger.now FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.now TO credits_app;

-- Ids that grow with time (shaped like UUID version 7), so that new rows meet on few pages of an index.
-- They are no secrets, so the session's own random numbers do, which cost no system call.
CREATE FUNCTION ledger.new_id() RETURNS UUID LANGUAGE sql VOLATILE RETURN encode(
  int8send(
    ((extract(EPOCH FROM clock_timestamp()) * 1000)::BIGINT << 16) | 28672 | (random() * 4095)::BIGINT
  )
  || int8send(
    -9223372036854775808 | ((random() * 1073741823)::BIGINT << 32) | (random() * 4294967295)::BIGINT
  ),
  'hex'
)::UUID;
REVOKE ALL ON FUNCTION ledger.new_id FROM PUBLIC;

-- Rules about one column are domains: unlike a CHECK, which every UPDATE of a row pays for, they are
-- looked at when the column is assigned.
CREATE DOMAIN ledger.millicredits AS BIGINT CHECK (VALUE >= 0);
CREATE DOMAIN ledger.reset_period AS VARCHAR(10) CHECK (VALUE IN ('daily', 'weekly', 'monthly', 'never'));
CREATE DOMAIN ledger.hold_status AS VARCHAR(10) CHECK (VALUE IN ('held', 'captured', 'voided', 'expired'));

CREATE TABLE organizations (
  id VARCHAR(36) PRIMARY KEY DEFAULT gen_random_uuid()::TEXT,
  name VARCHAR(255) NOT NULL UNIQUE,
  display_name VARCHAR(255),
  slug VARCHAR(255) UNIQUE,
  plan_tier VARCHAR(50) NOT NULL DEFAULT 'platform',
  max_seats INTEGER CHECK (max_seats > 0),
  status VARCHAR(20) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'deleted')),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

CREATE TABLE organization_members (
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  user_id VARCHAR(255) NOT NULL,
  role VARCHAR(20) NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'billing_admin', 'member')),
  is_default BOOLEAN NOT NULL DEFAULT FALSE,
  joined_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (org_id, user_id)
);
CREATE INDEX organization_members_of_user ON organization_members (user_id);

CREATE TABLE organization_subscriptions (
  id UUID NOT NULL DEFAULT ledger.new_id(),
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  subscription_plan VARCHAR(20) NOT NULL CHECK (subscription_plan IN ('platform', 'byok', 'hybrid')),
  monthly_price NUMERIC(12, 2) NOT NULL DEFAULT 0 CHECK (monthly_price >= 0),
  billing_cycle VARCHAR(20) NOT NULL DEFAULT 'monthly'
  CHECK (billing_cycle IN ('monthly', 'yearly', 'custom')),
  status VARCHAR(20) NOT NULL DEFAULT 'active'
  CHECK (status IN ('active', 'trialing', 'past_due', 'canceled', 'paused')),
  trial_ends_at TIMESTAMPTZ,
  current_period_start TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  current_period_end TIMESTAMPTZ,
  canceled_at TIMESTAMPTZ,
  stripe_subscription_id VARCHAR(255),
  lago_subscription_id VARCHAR(255),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (id, org_id)
);
CREATE INDEX organization_subscriptions_of_org ON organization_subscriptions (org_id, created_at);
CREATE UNIQUE INDEX organization_subscriptions_one_active_of_org
ON organization_subscriptions (org_id) WHERE status = 'active';

-- What an organisation owns. What of it is allocated, used and settled follows from the allocations.
CREATE TABLE credit_pools (
  org_id VARCHAR(36) PRIMARY KEY REFERENCES organizations ON DELETE RESTRICT,
  total_credits BIGINT NOT NULL DEFAULT 0 CHECK (total_credits BETWEEN 0 AND 1000000000000000),
  monthly_refresh_amount BIGINT NOT NULL DEFAULT 0
  CHECK (monthly_refresh_amount BETWEEN 0 AND 1000000000000000),
  last_refresh_date TIMESTAMPTZ,
  next_refresh_date TIMESTAMPTZ,
  allow_overage BOOLEAN NOT NULL DEFAULT FALSE,
  overage_limit BIGINT NOT NULL DEFAULT 0 CHECK (overage_limit BETWEEN 0 AND 1000000000000000),
  overage_rate NUMERIC(12, 6) NOT NULL DEFAULT 0 CHECK (overage_rate >= 0),
  lifetime_purchased_credits BIGINT NOT NULL DEFAULT 0,
  lifetime_spent_amount NUMERIC(18, 2) NOT NULL DEFAULT 0,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

-- A member's share of the pool, and the one row that the member's charges and holds lock. Half of each
-- page is left free, so that a charge's new version of the row stays on it and touches no index (HOT);
-- the columns that charges change stand together, so that little of the row goes into the log.
CREATE TABLE user_credit_allocations (
  id UUID NOT NULL DEFAULT ledger.new_id(),
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  user_id VARCHAR(255) NOT NULL,
  allocated_credits ledger.millicredits NOT NULL DEFAULT 0,
  -- What the closed periods used: settled + used is the sum of the allocation's attribution, always.
  settled_credits BIGINT NOT NULL DEFAULT 0,
  held_credits ledger.millicredits NOT NULL DEFAULT 0,
  -- Negative after a refund of a charge of an earlier period.
  used_credits BIGINT NOT NULL DEFAULT 0,
  remaining_credits BIGINT NOT NULL GENERATED ALWAYS AS (allocated_credits - used_credits) STORED,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  reset_period ledger.reset_period NOT NULL DEFAULT 'never',
  last_reset_date TIMESTAMPTZ,
  next_reset_date TIMESTAMPTZ,
  allocated_by VARCHAR(255),
  notes TEXT,
  PRIMARY KEY (org_id, id),
  UNIQUE (org_id, user_id)
) WITH (fillfactor = 50);
CREATE INDEX user_credit_allocations_of_user ON user_credit_allocations (user_id);

-- Credits set aside before an operation. `ledger.keep_hold_history` keeps the states:
-- held -> captured | voided | expired, and expired -> captured. `ledger.keep_accounts` keeps allocations
-- that are referred to here: a foreign key would cost every hold and charge a second lock of the row.
CREATE TABLE credit_holds (
  id UUID NOT NULL DEFAULT ledger.new_id(),
  org_id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  credits ledger.millicredits NOT NULL,
  captured_credits ledger.millicredits NOT NULL DEFAULT 0,
  status ledger.hold_status NOT NULL DEFAULT 'held',
  service_type VARCHAR(100) NOT NULL,
  service_name VARCHAR(255),
  request_id VARCHAR(255) NOT NULL,
  request_metadata JSONB NOT NULL DEFAULT '{}',
  expires_at TIMESTAMPTZ NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (id, org_id)
);
-- A request id holds credits once at a time; after a void or an expiry it may hold again.
CREATE UNIQUE INDEX credit_holds_one_of_request ON credit_holds (org_id, request_id)
WHERE status IN ('held', 'captured');
CREATE INDEX credit_holds_overdue ON credit_holds (expires_at, org_id, user_id) WHERE status = 'held';

-- Every charge, and every refund as a row with negative credits. Append-only.
-- The key is the request id: it charges once, for ever.
CREATE TABLE credit_usage_attribution (
  id UUID NOT NULL DEFAULT ledger.new_id(),
  org_id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  allocation_id UUID NOT NULL,
  credits_used BIGINT NOT NULL,
  service_type VARCHAR(100) NOT NULL,
  service_name VARCHAR(255),
  api_cost NUMERIC,
  markup_applied NUMERIC,
  total_cost NUMERIC GENERATED ALWAYS AS (api_cost + markup_applied) STORED,
  request_id VARCHAR(255) NOT NULL DEFAULT 'req_' || replace(gen_random_uuid()::TEXT, '-', ''),
  request_metadata JSONB NOT NULL DEFAULT '{}',
  refund_of UUID,
  hold_id UUID,
  -- What was left of the allocation right after this row: a replay answers what the first call did.
  remaining_after BIGINT,
  -- What was left of the charge right after this refund.
  refundable_after BIGINT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (org_id, request_id)
);
CREATE INDEX credit_usage_attribution_of_id ON credit_usage_attribution (id);
CREATE INDEX credit_usage_attribution_latest_of_org ON credit_usage_attribution (org_id, created_at);
CREATE INDEX credit_usage_attribution_latest_of_member
ON credit_usage_attribution (allocation_id, created_at);
CREATE INDEX credit_usage_attribution_refunds_of_charge ON credit_usage_attribution (refund_of)
WHERE refund_of IS NOT NULL;

-- What happened to an organisation's money and pool. Append-only.
CREATE TABLE org_billing_history (
  id UUID NOT NULL DEFAULT ledger.new_id(),
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  subscription_id UUID,
  event_type VARCHAR(50) NOT NULL
  CHECK (event_type IN (
    'invoice_created', 'invoice_paid', 'invoice_failed',
    'subscription_created', 'subscription_upgraded', 'subscription_downgraded', 'subscription_canceled',
    'credit_purchase', 'credit_refund', 'overage_charged',
    'credit_grant', 'credit_allocation', 'allocation_reset', 'pool_refresh'
  )),
  amount NUMERIC(18, 2) NOT NULL DEFAULT 0,
  currency CHAR(3) NOT NULL DEFAULT 'USD',
  -- What the event added to the pool or the allocation that it is about.
  credits BIGINT,
  request_id VARCHAR(255),
  payment_status VARCHAR(20),
  payment_method VARCHAR(50),
  paid_at TIMESTAMPTZ,
  period_start TIMESTAMPTZ,
  period_end TIMESTAMPTZ,
  event_metadata JSONB NOT NULL DEFAULT '{}',
  notes TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (id, org_id),
  FOREIGN KEY (subscription_id, org_id) REFERENCES organization_subscriptions (id, org_id) ON DELETE RESTRICT
);
CREATE UNIQUE INDEX org_billing_history_one_of_request ON org_billing_history (org_id, request_id)
WHERE request_id IS NOT NULL;
CREATE INDEX org_billing_history_latest_of_org ON org_billing_history (org_id, created_at);

GRANT SELECT ON
organizations, organization_members, organization_subscriptions, credit_pools, user_credit_allocations,
credit_holds, credit_usage_attribution, org_billing_history
TO credits_app;

-- What functions answer: the fields of the results in `credit_sdk.models`.
CREATE TYPE ledger.receipt AS (
  charge_id UUID,
  org_id TEXT,
  user_id TEXT,
  credits_used BIGINT,
  remaining_credits BIGINT,
  service_type TEXT,
  service_name TEXT,
  request_id TEXT,
  created_at TIMESTAMPTZ,
  replayed BOOLEAN
);

CREATE TYPE ledger.refund_receipt AS (
  refund_id UUID,
  charge_id UUID,
  org_id TEXT,
  user_id TEXT,
  credits_refunded BIGINT,
  refundable_credits BIGINT,
  remaining_credits BIGINT,
  request_id TEXT,
  created_at TIMESTAMPTZ,
  replayed BOOLEAN
);

CREATE TYPE ledger.hold AS (
  hold_id UUID,
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  captured_credits BIGINT,
  status TEXT,
  service_type TEXT,
  service_name TEXT,
  request_id TEXT,
  expires_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ,
  replayed BOOLEAN
);

CREATE TYPE ledger.credit_check AS (
  has_sufficient_credits BOOLEAN,
  remaining_credits BIGINT,
  available_credits BIGINT,
  required_credits BIGINT
);

CREATE TYPE ledger.credit_pool AS (
  org_id TEXT,
  total_credits BIGINT,
  allocated_credits BIGINT,
  used_credits BIGINT,
  settled_credits BIGINT,
  available_credits BIGINT,
  monthly_refresh_amount BIGINT,
  next_refresh_date TIMESTAMPTZ,
  allow_overage BOOLEAN,
  overage_limit BIGINT,
  lifetime_purchased_credits BIGINT,
  updated_at TIMESTAMPTZ
);

CREATE TYPE ledger.pool_change AS (
  org_id TEXT,
  credits_added BIGINT,
  total_credits BIGINT,
  available_credits BIGINT,
  request_id TEXT,
  replayed BOOLEAN
);

CREATE TYPE ledger.allocation_change AS (
  org_id TEXT,
  user_id TEXT,
  credits_added BIGINT,
  allocated_credits BIGINT,
  remaining_credits BIGINT,
  reset_period TEXT,
  request_id TEXT,
  replayed BOOLEAN
);

-- What becomes of one charge of a batch: `taken` ones are written, `receipt` or `problem` is answered.
CREATE TYPE ledger.batch_decision AS (
  position BIGINT,
  request_id TEXT,
  taken BOOLEAN,
  allocation_id UUID,
  request_metadata JSONB,
  receipt ledger.receipt,
  problem JSONB
);
