-- An amount that may move: more than zero, at most 10^12 credits. NULL for NULL.
CREATE OR REPLACE FUNCTION ledger.is_amount(credits BIGINT) RETURNS BOOLEAN
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN credits BETWEEN 1 AND 1000000000000000;

REVOKE ALL ON FUNCTION ledger.is_amount FROM PUBLIC;
