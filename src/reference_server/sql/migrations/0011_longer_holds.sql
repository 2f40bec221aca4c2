-- Holds that live longer: more credits and more time for what is open, and charges for parts of it.

-- What a hold set aside when it was placed, once its `credits` have changed: the content that its request id
-- stands for. NULL while they are the same.
ALTER TABLE credit_holds ADD COLUMN placed_credits ledger.millicredits;
-- When the hold counts against caps: NULL is when it was placed, else when it was last given more.
ALTER TABLE credit_holds ADD COLUMN counted_at TIMESTAMPTZ;
ALTER TABLE user_credit_holds ADD COLUMN placed_credits NUMERIC(18, 3) CHECK (placed_credits > 0);

-- What open holds were given more. Append-only. The key is the request id: it extends once, for ever. No
-- foreign key leads to the hold, as none leads there from charges: `ledger.keep_hold_history` keeps holds.
CREATE TABLE credit_hold_extensions (
  org_id VARCHAR(36) NOT NULL,
  request_id VARCHAR(255) NOT NULL,
  hold_id UUID NOT NULL,
  credits ledger.millicredits NOT NULL,
  ttl_seconds INTEGER CHECK (ttl_seconds BETWEEN 1 AND 86400),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (org_id, request_id)
);
CREATE INDEX credit_hold_extensions_of_hold ON credit_hold_extensions (org_id, hold_id, created_at);
CREATE TABLE user_credit_hold_extensions (
  user_id BIGINT NOT NULL REFERENCES users ON DELETE RESTRICT,
  request_id VARCHAR(255) NOT NULL,
  hold_id UUID NOT NULL,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits >= 0),
  ttl_seconds INTEGER CHECK (ttl_seconds BETWEEN 1 AND 86400),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (user_id, request_id)
);
GRANT SELECT ON credit_hold_extensions, user_credit_hold_extensions TO credits_app;

ALTER TABLE credit_hold_extensions ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON credit_hold_extensions TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));

-- No policy: what belongs to users is read through functions, which answer for one of them.
ALTER TABLE user_credit_hold_extensions ENABLE ROW LEVEL SECURITY;
