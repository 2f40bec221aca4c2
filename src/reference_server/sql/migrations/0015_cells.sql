-- Cells: organisations live in one of several databases. The first, called home, knows where; each knows
-- which of its organisations are not its own any more, and moves no credits of those.

CREATE SCHEMA cells;
GRANT USAGE ON SCHEMA cells TO credits_app;

-- In the home database, where an organisation lives: NULL in `cell` is home, and so is no row. In any, if it
-- lives here: what has left stays, as it was when it left. `move_id` is the last move, and `target` where an
-- unfinished one goes.
CREATE TABLE organization_cells (
  org_id VARCHAR(36) PRIMARY KEY REFERENCES organizations ON DELETE RESTRICT,
  is_here BOOLEAN NOT NULL DEFAULT TRUE,
  cell VARCHAR(50),
  target VARCHAR(50),
  move_id UUID,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
GRANT SELECT ON organization_cells TO credits_app;
ALTER TABLE organization_cells ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON organization_cells TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));

-- Whether the organisation has left. It stands in the rows that every change of credits updates, so that one
-- which waited while the organisation was leaving looks at the new version of the row and sees it.
ALTER TABLE user_credit_allocations ADD COLUMN moved BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE credit_pools ADD COLUMN moved BOOLEAN NOT NULL DEFAULT FALSE;
