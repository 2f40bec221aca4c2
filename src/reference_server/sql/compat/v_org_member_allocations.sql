-- The second name of `top_credit_users_by_org` in the source documents.
CREATE OR REPLACE VIEW v_org_member_allocations WITH (security_invoker = TRUE) AS
SELECT * FROM top_credit_users_by_org;

GRANT SELECT ON v_org_member_allocations TO credits_app;
