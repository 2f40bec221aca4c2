-- How many months a period of a billing cycle has; NULL for a custom one, whose periods have no end.
CREATE OR REPLACE FUNCTION ledger.months_of_cycle(billing_cycle TEXT) RETURNS INTEGER
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE months_of_cycle.billing_cycle WHEN 'monthly' THEN 1 WHEN 'yearly' THEN 12 END;

REVOKE ALL ON FUNCTION ledger.months_of_cycle FROM PUBLIC;
