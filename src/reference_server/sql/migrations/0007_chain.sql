-- Proof that history was not rewritten: each organisation's append-only rows are links of one chain of
-- digests. Filled by `ledger.seal`, off the path of charges.

-- Append-only. What is digested, and how, says `ledger.entry_digest` and `ledger.chain_digest`.
CREATE TABLE ledger_chain (
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  -- 1, 2, 3 without gaps: the order of sealing, which is near the order of time.
  sequence BIGINT NOT NULL CHECK (sequence > 0),
  -- Which table the row is in: credit_usage_attribution or org_billing_history.
  kind VARCHAR(20) NOT NULL CHECK (kind IN ('charge', 'billing_event')),
  entry_id UUID NOT NULL,
  entry_digest BYTEA NOT NULL CHECK (length(entry_digest) = 32),
  digest BYTEA NOT NULL CHECK (length(digest) = 32),
  PRIMARY KEY (org_id, sequence),
  -- Each row is sealed once.
  UNIQUE (org_id, entry_id, kind)
);

-- The end of each chain, whose lock is the right to lengthen it.
CREATE TABLE ledger_heads (
  org_id VARCHAR(36) PRIMARY KEY REFERENCES organizations ON DELETE RESTRICT,
  sequence BIGINT NOT NULL DEFAULT 0,
  digest BYTEA NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (length(digest) = 32),
  -- No row that was created before this is committed any more: all of them are sealed.
  settled_before TIMESTAMPTZ NOT NULL DEFAULT '-infinity',
  -- What `settled_before` becomes once every transaction before this one has ended.
  candidate_at TIMESTAMPTZ,
  candidate_xid XID8
);

GRANT SELECT ON ledger_chain, ledger_heads TO credits_app;

ALTER TABLE ledger_chain ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON ledger_chain TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));

ALTER TABLE ledger_heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON ledger_heads TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));
