-- Many holds of one organisation in one transaction, as `ledger.deduct_batch` takes charges. Outcomes are
-- those of `ledger.place_hold`, one hold after the other: a batch that is plain is written as a set, any
-- other goes through that function.
CREATE OR REPLACE FUNCTION ledger.place_hold_batch(org_id TEXT, holds JSONB, OUT document JSON)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _allocation_ids UUID[];
BEGIN
  IF jsonb_typeof(place_hold_batch.holds) IS DISTINCT FROM 'array' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'holds must be a JSON array.'));
  END IF;
  _allocation_ids := ledger.lock_allocations(
    place_hold_batch.org_id,
    ARRAY(
      SELECT DISTINCT item.hold ->> 'user_id'
      FROM jsonb_array_elements(place_hold_batch.holds) AS item (hold)
    )
  );

  BEGIN
    document := ledger.place_plain_holds(place_hold_batch.org_id, place_hold_batch.holds, _allocation_ids);
  EXCEPTION
    WHEN unique_violation THEN
      -- A request id of the batch holds already.
      NULL;
  END;
  IF document IS NULL THEN
    document := ledger.place_mixed_holds(place_hold_batch.org_id, place_hold_batch.holds, _allocation_ids);
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.place_hold_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.place_hold_batch TO credits_app;
