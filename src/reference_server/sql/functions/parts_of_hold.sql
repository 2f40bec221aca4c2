-- The charges of a document for parts of a hold, in their order; what they leave open is the hold's. Refused
-- when an amount cannot be charged, or when there is no request id of its own for each.
CREATE OR REPLACE FUNCTION ledger.parts_of_hold(hold public.credit_holds, charges JSONB)
RETURNS TABLE (
  place BIGINT,
  request_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT,
  request_metadata JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _wrong RECORD;
BEGIN
  IF jsonb_typeof(charges) IS DISTINCT FROM 'array' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'charges must be a JSON array.'));
  END IF;
  SELECT
    count(*) <> count(DISTINCT item.request_id) AS ids,
    min(item.credits) FILTER (WHERE NOT ledger.is_amount(item.credits)) AS amount,
    count(*) <> count(item.credits) OR count(*) = 0 AS lacking
  INTO _wrong
  FROM jsonb_to_recordset(charges) AS item (request_id TEXT, credits BIGINT);
  IF _wrong.ids OR _wrong.lacking THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'There must be charges, each with credits and a request_id of its own.'
    ));
  ELSIF _wrong.amount IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.amount_problem(_wrong.amount));
  END IF;
  RETURN QUERY
  SELECT
    item.place, item.request_id, item.credits, coalesce(item.service_type, hold.service_type::TEXT),
    coalesce(item.service_name, hold.service_name::TEXT), coalesce(item.request_metadata, '{}')
  FROM ROWS FROM (
    jsonb_to_recordset(charges) AS (
      request_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT, request_metadata JSONB
    )
  ) WITH ORDINALITY AS item (request_id, credits, service_type, service_name, request_metadata, place);
END;
$$;

REVOKE ALL ON FUNCTION ledger.parts_of_hold FROM PUBLIC;
