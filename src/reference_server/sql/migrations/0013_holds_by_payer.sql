-- Who may end a hold: one that a program has placed is not the payer's to end.

-- Whether the payer placed it in person, through a session. Holds that are open now count as programs'.
ALTER TABLE credit_holds ADD COLUMN by_payer BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE user_credit_holds ADD COLUMN by_payer BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TYPE ledger.hold ADD ATTRIBUTE by_payer BOOLEAN CASCADE;
