-- The second name of `org_billing_metrics` in the source documents.
CREATE OR REPLACE VIEW v_credit_usage_by_service WITH (security_invoker = TRUE) AS
SELECT * FROM org_billing_metrics;

GRANT SELECT ON v_credit_usage_by_service TO credits_app;
