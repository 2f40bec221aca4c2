-- The second name of `user_multi_org_credits` in the source documents.
CREATE OR REPLACE VIEW v_user_credit_status WITH (security_invoker = TRUE) AS
SELECT * FROM user_multi_org_credits;

GRANT SELECT ON v_user_credit_status TO credits_app;
