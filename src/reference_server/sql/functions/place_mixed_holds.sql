-- The batch of holds that is not plain: hold by hold, each decided by `ledger.place_hold`, and undone alone
-- if that refuses it. The caller holds the locks of `allocation_ids`; those of the caps are taken first and
-- all at once, in the order in which everybody takes them.
CREATE OR REPLACE FUNCTION ledger.place_mixed_holds(org_id TEXT, holds JSONB, allocation_ids UUID[])
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
    place_mixed_holds.org_id,
    place_mixed_holds.allocation_ids,
    ARRAY(SELECT item.hold ->> 'api_key_id' FROM jsonb_array_elements(place_mixed_holds.holds) AS item (hold)),
    overdue_at => ledger.now()
  );
  FOR _item IN
    SELECT asked.*
    FROM ROWS FROM (
      jsonb_to_recordset(place_mixed_holds.holds) AS (
        user_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT,
        request_id TEXT, request_metadata JSONB, ttl_seconds INTEGER, api_key_id TEXT, by_payer BOOLEAN
      )
    ) WITH ORDINALITY AS asked (
      user_id, credits, service_type, service_name, request_id, request_metadata, ttl_seconds, api_key_id,
      by_payer, position
    )
    ORDER BY asked.position
  LOOP
    BEGIN
      _outcomes := _outcomes || jsonb_build_object(
        'request_id', _item.request_id,
        'hold', ledger.place_hold(
          place_mixed_holds.org_id, _item.user_id, _item.credits, _item.service_type, _item.service_name,
          _item.request_id, _item.request_metadata, _item.ttl_seconds, _item.api_key_id,
          _item.by_payer
        )
      );
    EXCEPTION
      -- The whole class of refusals.
      WHEN SQLSTATE 'CR000' THEN
        GET STACKED DIAGNOSTICS _sentence = MESSAGE_TEXT, _figures = PG_EXCEPTION_DETAIL;
        _outcomes := _outcomes || jsonb_build_object(
          'request_id', _item.request_id,
          'problem', ledger.outcome_problem(_sentence, _figures::JSONB)
        );
    END;
  END LOOP;
  RETURN jsonb_build_object('outcomes', to_jsonb(_outcomes));
END;
$$;

REVOKE ALL ON FUNCTION ledger.place_mixed_holds FROM PUBLIC;
