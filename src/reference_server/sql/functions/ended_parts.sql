-- What of each ended lot remains of a hold's part when so much of it is used, the lots one after the other.
CREATE OR REPLACE FUNCTION ledger.ended_parts(ended_lots JSONB, used BIGINT)
RETURNS TABLE (lot_id UUID, credits BIGINT)
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT line.lot_id, least(line.credits, line.up_to_it - ended_parts.used)::BIGINT
FROM (
  SELECT
    part.key::UUID AS lot_id, part.value::BIGINT AS credits,
    sum(part.value::BIGINT) OVER (ORDER BY part.key) AS up_to_it
  FROM jsonb_each_text(ended_parts.ended_lots) AS part
) AS line
WHERE line.up_to_it > ended_parts.used
$$;

REVOKE ALL ON FUNCTION ledger.ended_parts FROM PUBLIC;
