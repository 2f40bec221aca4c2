-- The digest of a link covers everything before it, its place, and its row.
CREATE OR REPLACE FUNCTION ledger.chain_digest(previous BYTEA, sequence BIGINT, entry_digest BYTEA)
RETURNS BYTEA
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(previous || int8send(sequence) || entry_digest);

REVOKE ALL ON FUNCTION ledger.chain_digest FROM PUBLIC;
