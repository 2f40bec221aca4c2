-- Whether it was leaving the organisation that switched an allocation off. Who comes back spends again then;
-- who was stopped by somebody does not.
ALTER TABLE user_credit_allocations ADD COLUMN has_left BOOLEAN NOT NULL DEFAULT FALSE;

-- Who left before this, and was switched off by that. It cannot be told from who was stopped and left later.
UPDATE user_credit_allocations AS allocation
SET has_left = TRUE
WHERE
  NOT allocation.is_active
  AND NOT allocation.moved
  AND NOT EXISTS (
    SELECT FROM organization_members AS member
    WHERE member.org_id = allocation.org_id AND member.user_id = allocation.user_id
  );
