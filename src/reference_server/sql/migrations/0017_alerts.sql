-- Alerts: figures that cross a threshold, and the signed webhooks that tell of it.
--
-- Nothing here is written by a charge: a job looks at the books from time to time (`alerts.detect`).
CREATE SCHEMA alerts;
GRANT USAGE ON SCHEMA alerts TO credits_app;

CREATE DOMAIN ledger.alert_kind AS VARCHAR(20)
CHECK (VALUE IN (
  'pool.low', 'allocation.low', 'balance.low', 'spend.spike', 'exhaustion.near', 'top_up.failed'
));

-- What is watched. `threshold` is in thousandths: of a credit, of what is usual (spend.spike), of a day
-- (exhaustion.near). `subject` is a user's id; empty stands for the organisation as a whole, and for every
-- member or user where the figure is one's own. Without `org_id` it is about users' own balances.
CREATE TABLE alert_rules (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  kind ledger.alert_kind NOT NULL CHECK (kind <> 'top_up.failed'),
  subject VARCHAR(255) NOT NULL DEFAULT '',
  threshold BIGINT NOT NULL CHECK (threshold BETWEEN 1 AND 1000000000000000),
  updated_by VARCHAR(255),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  CHECK ((org_id IS NULL) = (kind = 'balance.low'))
);
CREATE UNIQUE INDEX alert_rules_one_of_figure ON alert_rules (coalesce(org_id, ''), kind, subject);

-- Every crossing. While a figure stays on the wrong side its alert is open, and there can be one only: that
-- is what makes a threshold fire once for each crossing.
CREATE TABLE credit_alerts (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  kind ledger.alert_kind NOT NULL,
  subject VARCHAR(255) NOT NULL DEFAULT '',
  threshold BIGINT,
  value BIGINT,
  detail TEXT,
  raised_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  cleared_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX credit_alerts_one_open_of_figure ON credit_alerts (coalesce(org_id, ''), kind, subject)
WHERE cleared_at IS NULL;

-- Where alerts go. Without `org_id` it is the platform's own, which hears of users' own balances.
CREATE TABLE webhook_endpoints (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  url VARCHAR(2048) NOT NULL CHECK (url ~ '^https?://'),
  events TEXT[] NOT NULL CHECK (cardinality(events) > 0),
  secret TEXT NOT NULL,
  request_id VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE UNIQUE INDEX webhook_endpoints_one_of_request
ON webhook_endpoints (coalesce(org_id, ''), request_id);

-- The outbox of webhooks: a row is here before anything is sent, and keeps its id, which is the webhook's,
-- over all attempts. A test has no alert. Whoever sends holds a lease until `next_attempt_at`.
CREATE TABLE webhook_deliveries (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  endpoint_id UUID NOT NULL REFERENCES webhook_endpoints ON DELETE RESTRICT,
  alert_id UUID REFERENCES credit_alerts ON DELETE RESTRICT,
  event VARCHAR(20) NOT NULL,
  payload TEXT NOT NULL,
  status VARCHAR(10) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead')),
  attempts INTEGER NOT NULL DEFAULT 0,
  redeliveries INTEGER NOT NULL DEFAULT 0,
  lease UUID,
  next_attempt_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  last_status INTEGER,
  last_error TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  delivered_at TIMESTAMPTZ,
  UNIQUE (endpoint_id, alert_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_latest_of_org ON webhook_deliveries (org_id, created_at);

-- One process looks at a time: the row is locked meanwhile, and says when it was done last.
CREATE TABLE alert_rounds (
  kind VARCHAR(10) PRIMARY KEY CHECK (kind IN ('balances', 'usage')),
  began_at TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
);
INSERT INTO alert_rounds (kind) VALUES ('balances'), ('usage');

DO $$
DECLARE
  _table TEXT;
BEGIN
  FOREACH _table IN ARRAY ARRAY['alert_rules', 'credit_alerts', 'webhook_endpoints', 'webhook_deliveries']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', _table);
    EXECUTE format(
      'CREATE POLICY of_organization ON %I TO credits_app USING (org_id = %s)',
      _table, 'nullif(current_setting(''credits.org_id'', TRUE), '''')'
    );
  END LOOP;
END;
$$;

-- A secret is for the functions of `alerts`, which sign for whoever delivers, and is shown when it is made.
GRANT SELECT ON alert_rules, credit_alerts, webhook_deliveries TO credits_app;
GRANT SELECT (id, org_id, url, events, created_at) ON webhook_endpoints TO credits_app;
