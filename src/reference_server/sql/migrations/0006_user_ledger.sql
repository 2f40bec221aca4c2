-- The user ledger: one balance per user, made of `credits_transactions`.
--
-- Amounts are credits, in NUMERIC(18, 3), so that SQL written by hand in credits works as it is. What the
-- functions take and answer are millicredits, as in the organisation ledger. `users.credits` follows from
-- the transactions by a trigger (`ledger.keep_balance`), whoever inserts them; the row of the user is the
-- one lock of their account.

ALTER TABLE users
ADD COLUMN held_credits NUMERIC(18, 3) NOT NULL DEFAULT 0,
-- Nothing takes what is set aside, and nobody has more than the largest amount.
ADD CONSTRAINT users_balance_covers_holds
CHECK (held_credits >= 0 AND held_credits <= credits AND credits <= 1000000000000),
-- A short number as `user_id` stands for `id`, anything else for `subject`: so no subject is another's id.
ADD CONSTRAINT users_subject_is_nobodys_id
CHECK (subject !~ '^[0-9]{1,18}$' OR subject = id::TEXT),
-- A charge's new version of the row stays on its page and touches no index.
SET (fillfactor = 50);
GRANT SELECT (held_credits) ON users TO credits_app;

-- Every change of a balance: positive amounts add, negative ones take. Append-only. `ledger.keep_balance`
-- gives the rows of a user their ids in the order in which they changed the balance.
CREATE SEQUENCE credits_transactions_id_seq AS BIGINT;
CREATE TABLE credits_transactions (
  id BIGINT PRIMARY KEY,
  user_id BIGINT NOT NULL REFERENCES users ON DELETE RESTRICT,
  amount NUMERIC(18, 3) NOT NULL CHECK (amount <> 0 AND abs(amount) <= 1000000000000),
  balance_after NUMERIC(18, 3) NOT NULL,
  description TEXT,
  transaction_type VARCHAR(50) NOT NULL DEFAULT 'service' CHECK (
    transaction_type IN ('service', 'credit_addition', 'purchase', 'refund', 'subscription')
  ),
  service_type VARCHAR(100),
  service_name VARCHAR(255),
  transaction_metadata JSONB NOT NULL DEFAULT '{}',
  request_id VARCHAR(255) NOT NULL DEFAULT 'req_' || replace(gen_random_uuid()::TEXT, '-', ''),
  refund_of BIGINT REFERENCES credits_transactions ON DELETE RESTRICT,
  -- What was left of the charge right after this refund: a replay answers what the first call did.
  refundable_after NUMERIC(18, 3),
  hold_id UUID,
  created_at TIMESTAMPTZ NOT NULL,
  CHECK (refund_of IS NULL OR (amount > 0 AND transaction_type = 'refund')),
  CHECK (hold_id IS NULL OR amount < 0)
);
ALTER SEQUENCE credits_transactions_id_seq OWNED BY credits_transactions.id;
CREATE INDEX credits_transactions_latest_of_user ON credits_transactions (user_id, created_at);
CREATE INDEX credits_transactions_refunds_of_charge ON credits_transactions (refund_of)
WHERE refund_of IS NOT NULL;
-- After the index of the latest: before there are statistics, PostgreSQL takes the youngest of two that
-- seem equal, and looking an id up among all transactions of a user would take ever longer.
ALTER TABLE credits_transactions ADD UNIQUE (user_id, request_id);

-- Credits set aside before an operation, as in `credit_holds`.
CREATE TABLE user_credit_holds (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  user_id BIGINT NOT NULL REFERENCES users ON DELETE RESTRICT,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0),
  captured_credits NUMERIC(18, 3) NOT NULL DEFAULT 0 CHECK (captured_credits >= 0),
  status ledger.hold_status NOT NULL DEFAULT 'held',
  description TEXT,
  transaction_type VARCHAR(50) NOT NULL DEFAULT 'service',
  service_type VARCHAR(100) NOT NULL,
  service_name VARCHAR(255),
  request_id VARCHAR(255) NOT NULL,
  request_metadata JSONB NOT NULL DEFAULT '{}',
  expires_at TIMESTAMPTZ NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE UNIQUE INDEX user_credit_holds_one_of_request ON user_credit_holds (user_id, request_id)
WHERE status IN ('held', 'captured');
CREATE INDEX user_credit_holds_overdue ON user_credit_holds (expires_at, user_id) WHERE status = 'held';

GRANT SELECT ON credits_transactions, user_credit_holds TO credits_app;

-- No policy: what belongs to users is read through functions, which answer for one of them.
ALTER TABLE credits_transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_credit_holds ENABLE ROW LEVEL SECURITY;

-- What was a balance without a history begins one.
INSERT INTO credits_transactions (
  id, user_id, amount, balance_after, description, transaction_type, request_id, created_at
)
SELECT
  nextval('credits_transactions_id_seq') AS id,
  person.id AS user_id,
  person.credits AS amount,
  person.credits AS balance_after,
  'Opening balance' AS description,
  'credit_addition' AS transaction_type,
  'opening-balance' AS request_id,
  ledger.now() AS created_at
FROM users AS person
WHERE person.credits > 0;

-- What functions answer: the fields of the results in `credit_sdk.models`.
CREATE TYPE ledger.spending AS (
  charge_id BIGINT,
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

CREATE TYPE ledger.spending_refund AS (
  refund_id BIGINT,
  charge_id BIGINT,
  org_id TEXT,
  user_id TEXT,
  credits_refunded BIGINT,
  refundable_credits BIGINT,
  remaining_credits BIGINT,
  request_id TEXT,
  created_at TIMESTAMPTZ,
  replayed BOOLEAN
);

CREATE TYPE ledger.credit_grant AS (
  transaction_id BIGINT,
  user_id TEXT,
  credits_added BIGINT,
  credits BIGINT,
  transaction_type TEXT,
  description TEXT,
  request_id TEXT,
  created_at TIMESTAMPTZ,
  replayed BOOLEAN
);

CREATE TYPE ledger.balance AS (
  user_id TEXT,
  credits BIGINT,
  held_credits BIGINT,
  available_credits BIGINT,
  is_active BOOLEAN
);
