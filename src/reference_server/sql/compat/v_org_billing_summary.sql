-- The second name of `org_billing_summary` in the source documents.
CREATE OR REPLACE VIEW v_org_billing_summary WITH (security_invoker = TRUE) AS
SELECT * FROM org_billing_summary;

GRANT SELECT ON v_org_billing_summary TO credits_app;
