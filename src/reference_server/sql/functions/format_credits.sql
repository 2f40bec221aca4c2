-- Millicredits as people read credits: 1,234.5
CREATE OR REPLACE FUNCTION ledger.format_credits(millicredits BIGINT) RETURNS TEXT
LANGUAGE sql STABLE PARALLEL SAFE
RETURN rtrim(to_char(millicredits / 1000.0, 'FM9,999,999,999,999,990.999'), '.');

REVOKE ALL ON FUNCTION ledger.format_credits FROM PUBLIC;
