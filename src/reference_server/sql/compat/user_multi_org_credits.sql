-- Each user's credits in each of their organisations.
CREATE OR REPLACE VIEW user_multi_org_credits WITH (security_invoker = TRUE) AS
SELECT
  allocation.user_id,
  allocation.org_id,
  organization.name AS org_name,
  member.role,
  coalesce(member.is_default, FALSE) AS is_default,
  allocation.allocated_credits,
  allocation.used_credits,
  allocation.held_credits,
  allocation.remaining_credits,
  allocation.reset_period,
  allocation.next_reset_date,
  allocation.is_active AND organization.status = 'active' AS is_active
FROM user_credit_allocations AS allocation
INNER JOIN organizations AS organization ON organization.id = allocation.org_id
LEFT JOIN organization_members AS member
  ON member.org_id = allocation.org_id AND member.user_id = allocation.user_id;

GRANT SELECT ON user_multi_org_credits TO credits_app;
