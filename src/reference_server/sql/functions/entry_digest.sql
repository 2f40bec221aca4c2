-- The digest of a row: of the canonical bytes of its kind and its values. Each text is its length in bytes
-- (four, the highest first) and its UTF-8; NULL is the length ffffffff and nothing. `credit_sdk.proof`
-- computes the same without a database, so this never changes: another form is another kind.
CREATE OR REPLACE FUNCTION ledger.entry_digest(kind TEXT, entry TEXT[]) RETURNS BYTEA
LANGUAGE plpgsql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT sha256(string_agg(
      coalesce(int4send(octet_length(value.utf8)) || value.utf8, '\xffffffff'), '' ORDER BY value.place
    ))
    FROM (
      SELECT convert_to(field.value, 'UTF8') AS utf8, field.place
      FROM unnest(entry_digest.kind || entry_digest.entry) WITH ORDINALITY AS field (value, place)
    ) AS value
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.entry_digest FROM PUBLIC;
