-- Where the details of old charges go, month by month, and from where they can be detached.

-- A charge's row stays for ever, since its request id charges for ever: that is one unique index, which holds
-- whatever else runs, at every isolation level. What of it nobody needs to charge, replay, refund or sum up
-- can leave: the metadata, up to 16 KB, which are NULL once they are in the archive.
ALTER TABLE credit_usage_attribution ALTER COLUMN request_metadata DROP NOT NULL;

-- `entry` is the whole row as it was sealed (`ledger.entry_of`), so that an archive can be checked by itself.
-- A partition is a month (UTC), made by `ledger.archive` when it is needed.
CREATE TABLE credit_usage_archive (
  org_id VARCHAR(36) NOT NULL,
  charge_id UUID NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  entry TEXT[] NOT NULL,
  PRIMARY KEY (org_id, charge_id, created_at)
) PARTITION BY RANGE (created_at);
GRANT SELECT ON credit_usage_archive TO credits_app;

ALTER TABLE credit_usage_archive ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON credit_usage_archive TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));

-- All charges that were created before this are in the archive.
ALTER TABLE ledger_heads ADD COLUMN archived_before TIMESTAMPTZ NOT NULL DEFAULT '-infinity';
