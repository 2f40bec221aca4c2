-- Many captures of one organisation in one transaction, as `ledger.deduct_batch` takes charges. Outcomes are
-- those of `ledger.capture_hold`, one capture after the other: a batch that is plain is written as a set, any
-- other goes through that function.
CREATE OR REPLACE FUNCTION ledger.capture_hold_batch(org_id TEXT, captures JSONB, OUT document JSON)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _allocation_ids UUID[];
BEGIN
  IF jsonb_typeof(capture_hold_batch.captures) IS DISTINCT FROM 'array' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'captures must be a JSON array.'));
  END IF;
  _allocation_ids := ledger.lock_allocations(
    capture_hold_batch.org_id,
    ARRAY(
      SELECT DISTINCT hold.user_id
      FROM jsonb_array_elements(capture_hold_batch.captures) AS item (capture)
      INNER JOIN public.credit_holds AS hold ON hold.id = (item.capture ->> 'hold_id')::UUID
      WHERE hold.org_id = capture_hold_batch.org_id
    )
  );

  BEGIN
    document := ledger.capture_plain_holds(
      capture_hold_batch.org_id, capture_hold_batch.captures, _allocation_ids
    );
  EXCEPTION
    WHEN unique_violation OR SQLSTATE 'CR999' THEN
      -- A hold was captured before, or is named twice.
      NULL;
  END;
  IF document IS NULL THEN
    document := ledger.capture_mixed_holds(
      capture_hold_batch.org_id, capture_hold_batch.captures, _allocation_ids
    );
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_hold_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.capture_hold_batch TO credits_app;
