-- `ledger.refund` and `ledger.refund_spending` write the audit of refunds by persons themselves: the triggers
-- that did looked at every charge.
DROP TRIGGER IF EXISTS keep_audit_on_insert ON credit_usage_attribution;
DROP TRIGGER IF EXISTS keep_audit_of_refunds ON credits_transactions;
