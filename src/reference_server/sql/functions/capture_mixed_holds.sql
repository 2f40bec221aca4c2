-- The batch of captures that is not plain: hold by hold, each decided by `ledger.capture_hold`, and undone
-- alone if that refuses it. The caller holds the locks of `allocation_ids`; those of the caps are taken first
-- and all at once, in the order in which everybody takes them.
CREATE OR REPLACE FUNCTION ledger.capture_mixed_holds(org_id TEXT, captures JSONB, allocation_ids UUID[])
RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _outcomes JSONB[] := '{}';
  _item RECORD;
  _sentence TEXT;
  _figures TEXT;
BEGIN
  PERFORM ledger.lock_caps(
    capture_mixed_holds.org_id,
    capture_mixed_holds.allocation_ids,
    ARRAY(
      SELECT hold.api_key_id
      FROM jsonb_array_elements(capture_mixed_holds.captures) AS item (capture)
      INNER JOIN public.credit_holds AS hold ON hold.id = (item.capture ->> 'hold_id')::UUID
      WHERE hold.org_id = capture_mixed_holds.org_id
    ),
    overdue_at => ledger.now()
  );
  FOR _item IN
    SELECT asked.*
    FROM ROWS FROM (
      jsonb_to_recordset(capture_mixed_holds.captures) AS (
        hold_id UUID, credits BIGINT, request_metadata JSONB
      )
    ) WITH ORDINALITY AS asked (hold_id, credits, request_metadata, position)
    ORDER BY asked.position
  LOOP
    BEGIN
      _outcomes := _outcomes || jsonb_build_object(
        'hold_id', _item.hold_id,
        'receipt', ledger.capture_hold(
          _item.hold_id, capture_mixed_holds.org_id, _item.credits, _item.request_metadata
        )
      );
    EXCEPTION
      -- The whole class of refusals.
      WHEN SQLSTATE 'CR000' THEN
        GET STACKED DIAGNOSTICS _sentence = MESSAGE_TEXT, _figures = PG_EXCEPTION_DETAIL;
        _outcomes := _outcomes || jsonb_build_object(
          'hold_id', _item.hold_id,
          'problem', ledger.outcome_problem(_sentence, _figures::JSONB)
        );
    END;
  END LOOP;
  RETURN jsonb_build_object('outcomes', to_jsonb(_outcomes));
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_mixed_holds FROM PUBLIC;
