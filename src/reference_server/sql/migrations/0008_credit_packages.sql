-- Credits that are for sale. `id` is the name by which applications ask for a package; `stripe_price_id` is
-- what Stripe calls its price. A package that renews is sold as a subscription, and grants its credits for
-- each period that is paid. No row is deleted: a package that is not sold any more is inactive.
CREATE TABLE credit_packages (
  id VARCHAR(100) PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_.-]+$'),
  name VARCHAR(255) NOT NULL,
  description TEXT,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0 AND credits <= 1000000000000),
  price_cents BIGINT NOT NULL CHECK (price_cents BETWEEN 0 AND 99999999),
  currency CHAR(3) NOT NULL DEFAULT 'usd' CHECK (currency ~ '^[a-z]{3}$'),
  renews_every VARCHAR(10) CHECK (renews_every IN ('month', 'year')),
  stripe_price_id VARCHAR(255) UNIQUE,
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
GRANT SELECT ON credit_packages TO credits_app;
