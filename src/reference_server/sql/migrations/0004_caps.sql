-- Caps: what an organisation, a member or an API key may spend at most in a call, an hour, a day or a month.
CREATE DOMAIN ledger.cap_scope AS VARCHAR(20) CHECK (VALUE IN ('organization', 'member', 'api_key'));
CREATE DOMAIN ledger.cap_period AS VARCHAR(10) CHECK (VALUE IN ('call', 'hour', 'day', 'month'));

-- `subject` is the id of the user or of the key, and empty for the organisation. `used_credits` are those of
-- the hour, day or month (UTC) that began at `window_start`, which may be over. They can exceed `credits`,
-- which an administrator may lower: nothing more is taken then. Space is left on each page for new versions.
CREATE TABLE credit_caps (
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  scope ledger.cap_scope NOT NULL,
  subject VARCHAR(255) NOT NULL DEFAULT '',
  period ledger.cap_period NOT NULL,
  credits BIGINT NOT NULL CHECK (credits BETWEEN 1 AND 1000000000000000),
  used_credits ledger.millicredits NOT NULL DEFAULT 0,
  window_start TIMESTAMPTZ,
  updated_by VARCHAR(255),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (org_id, scope, subject, period),
  CHECK ((scope = 'organization') = (subject = '')),
  CHECK ((period = 'call') = (window_start IS NULL))
) WITH (fillfactor = 50);
GRANT SELECT ON credit_caps TO credits_app;

-- Whether the organisation has caps. It stands in the row that every charge and hold updates, so that one
-- which waited while the first cap was set looks at the new version of the row and sees it.
ALTER TABLE user_credit_allocations ADD COLUMN capped BOOLEAN NOT NULL DEFAULT FALSE;

-- The API key that charged or held, whose caps it counts against.
ALTER TABLE credit_usage_attribution ADD COLUMN api_key_id VARCHAR(255);
ALTER TABLE credit_holds ADD COLUMN api_key_id VARCHAR(255);
