-- The digests of links that follow each other, each from the one before: over a window in the chain's order.
-- `head` is the digest of the last link before them.
-- noqa: disable=layout.spacing,capitalisation.identifiers
CREATE OR REPLACE FUNCTION ledger.next_digest(
  previous BYTEA, head BYTEA, sequence BIGINT, entry_digest BYTEA
) RETURNS BYTEA
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ledger.chain_digest(coalesce(previous, head), sequence, entry_digest);

REVOKE ALL ON FUNCTION ledger.next_digest FROM PUBLIC;

CREATE OR REPLACE AGGREGATE ledger.chained(head BYTEA, sequence BIGINT, entry_digest BYTEA) (
  SFUNC = ledger.next_digest,
  STYPE = BYTEA
);
REVOKE ALL ON FUNCTION ledger.chained FROM PUBLIC;
