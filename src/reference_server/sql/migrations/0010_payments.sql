-- Payments through Stripe: who its customers are here, what they bought, and which credits that gave them.
--
-- Credits are in NUMERIC(18, 3), as in `credit_packages`; money is in the currency's smallest unit. Which
-- event was applied stands in the transaction that moved its credits. Who a payment is for is decided by
-- `stripe_customers` alone; what an event says about itself is not believed.
CREATE SCHEMA payments;
GRANT USAGE ON SCHEMA payments TO credits_app;

CREATE TABLE stripe_customers (
  customer_id VARCHAR(255) PRIMARY KEY,
  user_id BIGINT UNIQUE REFERENCES users ON DELETE RESTRICT,
  org_id VARCHAR(36) UNIQUE REFERENCES organizations ON DELETE RESTRICT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  CHECK (num_nonnulls(user_id, org_id) = 1)
);

-- What somebody set out to buy, at the price and for the credits of that moment. It is here before Stripe
-- hears of it, so that no payment can come for something unknown.
CREATE TABLE stripe_checkouts (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  session_id VARCHAR(255) UNIQUE,
  customer_id VARCHAR(255) NOT NULL REFERENCES stripe_customers ON DELETE RESTRICT,
  package_id VARCHAR(100) NOT NULL REFERENCES credit_packages ON DELETE RESTRICT,
  mode VARCHAR(20) NOT NULL CHECK (mode IN ('payment', 'subscription')),
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0),
  price_cents BIGINT NOT NULL CHECK (price_cents >= 0),
  currency CHAR(3) NOT NULL,
  status VARCHAR(20) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'expired', 'failed')),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

CREATE TABLE stripe_subscriptions (
  subscription_id VARCHAR(255) PRIMARY KEY,
  customer_id VARCHAR(255) NOT NULL REFERENCES stripe_customers ON DELETE RESTRICT,
  -- NULL for a price that is none of ours.
  package_id VARCHAR(100) REFERENCES credit_packages ON DELETE RESTRICT,
  status VARCHAR(30) NOT NULL,
  current_period_start TIMESTAMPTZ,
  current_period_end TIMESTAMPTZ,
  cancel_at_period_end BOOLEAN NOT NULL DEFAULT FALSE,
  canceled_at TIMESTAMPTZ,
  -- When Stripe said so: what it said earlier and is delivered later changes nothing.
  told_at TIMESTAMPTZ NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE INDEX stripe_subscriptions_of_customer ON stripe_subscriptions (customer_id);

-- Every event that was delivered with a valid signature. `unmatched` ones are about something that is not
-- known here (yet), `refused` ones about a payment that is not what was sold: both are for an operator.
CREATE TABLE stripe_events (
  event_id VARCHAR(255) PRIMARY KEY,
  type VARCHAR(100) NOT NULL,
  outcome VARCHAR(20) NOT NULL CHECK (outcome IN ('applied', 'kept', 'unmatched', 'refused')),
  detail TEXT,
  -- The payment that a reversal is about, which may become known later.
  payment_id VARCHAR(255),
  payload JSONB NOT NULL,
  told_at TIMESTAMPTZ NOT NULL,
  received_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE INDEX stripe_events_open ON stripe_events (received_at) WHERE outcome IN ('unmatched', 'refused');

-- Credits that a payment gave, once: `source_id` is the checkout session or the invoice. What reversals of
-- the payment ask back is `taken_back_credits` and, as far as it was spent already, `owed_credits`.
CREATE TABLE stripe_grants (
  source_id VARCHAR(255) PRIMARY KEY,
  event_id VARCHAR(255) NOT NULL UNIQUE REFERENCES stripe_events ON DELETE RESTRICT,
  customer_id VARCHAR(255) NOT NULL REFERENCES stripe_customers ON DELETE RESTRICT,
  package_id VARCHAR(100) NOT NULL REFERENCES credit_packages ON DELETE RESTRICT,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0),
  amount_cents BIGINT NOT NULL CHECK (amount_cents > 0),
  currency CHAR(3) NOT NULL,
  taken_back_credits NUMERIC(18, 3) NOT NULL DEFAULT 0 CHECK (taken_back_credits >= 0),
  owed_credits NUMERIC(18, 3) NOT NULL DEFAULT 0 CHECK (owed_credits >= 0),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  CHECK (taken_back_credits + owed_credits <= credits)
);

-- Which payment paid for which session or invoice: each for one.
CREATE TABLE stripe_payments (
  payment_id VARCHAR(255) PRIMARY KEY,
  source_id VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE INDEX stripe_payments_of_source ON stripe_payments (source_id);

-- Money that went back: by a refund (the id is the charge's, the amount the sum so far) or a dispute.
CREATE TABLE stripe_reversals (
  reversal_id VARCHAR(255) PRIMARY KEY,
  payment_id VARCHAR(255) NOT NULL,
  kind VARCHAR(10) NOT NULL CHECK (kind IN ('refund', 'dispute')),
  amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
  is_closed BOOLEAN NOT NULL DEFAULT FALSE,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE INDEX stripe_reversals_of_payment ON stripe_reversals (payment_id);

-- No policy but the one of organisations, and no right to read: what is here is asked through functions.
ALTER TABLE stripe_customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON stripe_customers TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));
ALTER TABLE stripe_checkouts ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_reversals ENABLE ROW LEVEL SECURITY;
