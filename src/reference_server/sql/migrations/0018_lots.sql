-- Credits that expire: lots of what was bought, given or renewed, each with an expiry and a priority.
--
-- Charges know nothing of lots. What of a lot is used follows from what was spent since the lots of an owner
-- changed last (`ledger.open_lots`), and is written down when they change again. Credits that are in no lot
-- never expire.
CREATE TABLE credit_lots (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  user_id BIGINT REFERENCES users ON DELETE RESTRICT,
  -- Millicredits, of users' own balances as well.
  credits BIGINT NOT NULL CHECK (credits BETWEEN 1 AND 1000000000000000),
  used_credits ledger.millicredits NOT NULL DEFAULT 0,
  expired_credits ledger.millicredits NOT NULL DEFAULT 0,
  priority INTEGER NOT NULL DEFAULT 100 CHECK (priority BETWEEN 0 AND 1000),
  expires_at TIMESTAMPTZ,
  -- When it was seen that the time was over. What is left of it then was held when it was.
  ended_at TIMESTAMPTZ,
  -- The event or the transaction that gave it.
  request_id VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  CHECK (num_nonnulls(org_id, user_id) = 1),
  CHECK (used_credits + expired_credits <= credits)
);
CREATE INDEX credit_lots_open_of_org ON credit_lots (org_id)
WHERE org_id IS NOT NULL AND used_credits + expired_credits < credits;
CREATE INDEX credit_lots_open_of_user ON credit_lots (user_id)
WHERE user_id IS NOT NULL AND used_credits + expired_credits < credits;

GRANT SELECT ON credit_lots TO credits_app;
ALTER TABLE credit_lots ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON credit_lots TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));

-- When the first open lot expires. It stands in rows that every charge reads anyway.
ALTER TABLE organizations ADD COLUMN lots_due_at TIMESTAMPTZ;
ALTER TABLE users ADD COLUMN lots_due_at TIMESTAMPTZ;
CREATE INDEX organizations_lots_due ON organizations (lots_due_at) WHERE lots_due_at IS NOT NULL;
CREATE INDEX users_lots_due ON users (lots_due_at) WHERE lots_due_at IS NOT NULL;

-- Up to where spending is written down in lots: what was used by then, or the last transaction by then.
ALTER TABLE credit_pools
ADD COLUMN lots_spent_credits BIGINT NOT NULL DEFAULT 0,
-- After how many days what a monthly refresh adds expires; NULL for never.
ADD COLUMN refresh_expires_in_days INTEGER CHECK (refresh_expires_in_days BETWEEN 1 AND 36500);
ALTER TABLE users ADD COLUMN lots_settled_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credit_packages ADD COLUMN expires_in_days INTEGER CHECK (expires_in_days BETWEEN 1 AND 36500);

ALTER TABLE org_billing_history
DROP CONSTRAINT org_billing_history_event_type_check,
ADD CONSTRAINT org_billing_history_event_type_check CHECK (event_type IN (
  'invoice_created', 'invoice_paid', 'invoice_failed',
  'subscription_created', 'subscription_upgraded', 'subscription_downgraded', 'subscription_canceled',
  'credit_purchase', 'credit_refund', 'overage_charged',
  'credit_grant', 'credit_allocation', 'allocation_reset', 'pool_refresh', 'credit_expired'
));
ALTER TABLE credits_transactions
DROP CONSTRAINT credits_transactions_transaction_type_check,
ADD CONSTRAINT credits_transactions_transaction_type_check CHECK (
  transaction_type IN ('service', 'credit_addition', 'purchase', 'refund', 'subscription', 'expiry')
);

-- What answers have more: what expires next, and when.
ALTER TYPE ledger.credit_pool ADD ATTRIBUTE expiring_credits BIGINT, ADD ATTRIBUTE expires_at TIMESTAMPTZ;
ALTER TYPE ledger.forecast ADD ATTRIBUTE expiring_credits BIGINT;
ALTER TYPE ledger.balance ADD ATTRIBUTE expiring_credits BIGINT, ADD ATTRIBUTE expires_at TIMESTAMPTZ;

-- Buying by itself: below a threshold the package is bought again with a payment method that Stripe keeps.
-- Amounts of credits are millicredits; money is in the smallest unit of the package's currency.
CREATE TABLE top_up_settings (
  customer_id VARCHAR(255) PRIMARY KEY REFERENCES stripe_customers ON DELETE RESTRICT,
  package_id VARCHAR(100) NOT NULL REFERENCES credit_packages ON DELETE RESTRICT,
  payment_method VARCHAR(255) NOT NULL,
  threshold BIGINT NOT NULL CHECK (threshold BETWEEN 1 AND 1000000000000000),
  -- The most that is paid in a calendar month (UTC).
  monthly_cents BIGINT NOT NULL CHECK (monthly_cents > 0),
  -- In a row; three switch it off, until it is set anew.
  failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

-- A row is here before Stripe hears of it, and its id is the key under which Stripe charges once. A customer
-- has one open one at most. The credits are given by the event that tells of the payment.
CREATE TABLE top_ups (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  customer_id VARCHAR(255) NOT NULL REFERENCES stripe_customers ON DELETE RESTRICT,
  package_id VARCHAR(100) NOT NULL REFERENCES credit_packages ON DELETE RESTRICT,
  payment_method VARCHAR(255) NOT NULL,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0),
  price_cents BIGINT NOT NULL CHECK (price_cents > 0),
  currency CHAR(3) NOT NULL,
  status VARCHAR(10) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'failed')),
  payment_id VARCHAR(255) UNIQUE,
  error VARCHAR(100),
  -- Whoever asks Stripe has the row until then.
  leased_until TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE UNIQUE INDEX top_ups_one_open_of_customer ON top_ups (customer_id) WHERE status = 'open';
CREATE INDEX top_ups_of_customer ON top_ups (customer_id, created_at);
ALTER TABLE top_up_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE top_ups ENABLE ROW LEVEL SECURITY;
