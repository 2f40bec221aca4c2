-- What of a hold came from lots that have ended, in millicredits.
CREATE OR REPLACE FUNCTION ledger.ended_credits(ended_lots JSONB) RETURNS BIGINT
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(sum(part.value::BIGINT), 0)::BIGINT FROM jsonb_each_text(ended_lots) AS part
$$;

REVOKE ALL ON FUNCTION ledger.ended_credits FROM PUBLIC;
