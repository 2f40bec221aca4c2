-- What open holds keep of lots that have ended: millicredits by the id of the lot, NULL for nothing. It is
-- used first when the hold is captured, and lost with what the hold gives back (`ledger.lose_held_lots`).
ALTER TABLE credit_holds ADD COLUMN ended_lots JSONB;
ALTER TABLE user_credit_holds ADD COLUMN ended_lots JSONB;
CREATE INDEX credit_holds_of_ended_lots ON credit_holds (org_id)
WHERE status = 'held' AND ended_lots IS NOT NULL;
