-- Many charges of one organisation in one transaction: one document in, one document out, a flush of the
-- log for all. Outcomes are those of `ledger.deduct`, one charge after the other.
--
-- Allocations are locked in the order of their ids, and rows are written in the order of request ids, so
-- that batches never wait for each other in a circle. A batch that is plain (nothing lacks, nothing was
-- charged before) is written as a set; any other is decided charge by charge first.
CREATE OR REPLACE FUNCTION ledger.deduct_batch(org_id TEXT, charges JSONB, OUT document JSON)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _charges JSONB := deduct_batch.charges;
  _allocation_ids UUID[];
BEGIN
  IF jsonb_typeof(_charges) IS DISTINCT FROM 'array' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'charges must be a JSON array.'));
  ELSIF _charges @? '$[*] ? (!exists (@.request_id) || @.request_id == null)' THEN
    SELECT jsonb_agg(
      jsonb_build_object('request_id', ledger.new_request_id()) || jsonb_strip_nulls(item.charge)
      ORDER BY item.position
    ) INTO _charges
    FROM jsonb_array_elements(_charges) WITH ORDINALITY AS item (charge, position);
  END IF;

  _allocation_ids := ledger.lock_allocations(
    deduct_batch.org_id,
    ARRAY(SELECT DISTINCT item.charge ->> 'user_id' FROM jsonb_array_elements(_charges) AS item (charge))
  );
  BEGIN
    document := ledger.take_plain_batch(deduct_batch.org_id, _charges, _allocation_ids);
  EXCEPTION
    WHEN unique_violation THEN
      -- A request id of the batch was used before.
      NULL;
  END;
  IF document IS NULL THEN
    document := ledger.take_mixed_batch(deduct_batch.org_id, _charges, _allocation_ids);
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.deduct_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.deduct_batch TO credits_app;
