-- Whether it was leaving the organisation that switched an allocation off. Who comes back spends again then;
-- who was stopped by somebody does not.
ALTER TABLE user_credit_allocations ADD COLUMN has_left BOOLEAN NOT NULL DEFAULT FALSE;
