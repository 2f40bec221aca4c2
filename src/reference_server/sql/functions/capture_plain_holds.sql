-- The plain batch of captures, as one statement: every hold is open, captured once, whole or for less, and
-- there are no caps. NULL, and nothing written, when that is not so. For the caller to undo it all, a hold
-- that is named twice is found by counting what was closed (CR999), and an id that was charged otherwise by
-- the table's key. The caller holds the locks of `allocation_ids`, under which holds change.
CREATE OR REPLACE FUNCTION ledger.capture_plain_holds(org_id TEXT, captures JSONB, allocation_ids UUID[])
RETURNS JSON
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _document JSON;
  _is_plain BOOLEAN;
  _asked BIGINT;
  _closed BIGINT;
BEGIN
  WITH account AS MATERIALIZED (
    SELECT allocation.id, allocation.user_id, allocation.remaining_credits
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = capture_plain_holds.org_id
      AND allocation.id = ANY(capture_plain_holds.allocation_ids)
      AND NOT allocation.capped
  ), item AS MATERIALIZED (
    SELECT
      asked.position,
      asked.hold_id,
      hold.user_id,
      hold.service_type,
      hold.service_name,
      hold.request_id,
      hold.request_metadata || coalesce(asked.request_metadata, '{}') AS request_metadata,
      hold.api_key_id,
      hold.credits AS held,
      coalesce(asked.credits, hold.credits) AS captured,
      ledger.new_id() AS id,
      account.id AS allocation_id,
      account.remaining_credits
      - sum(coalesce(asked.credits, hold.credits)) OVER (PARTITION BY hold.user_id ORDER BY asked.position)
        AS remaining
    FROM ROWS FROM (
      jsonb_to_recordset(capture_plain_holds.captures) AS (
        hold_id UUID, credits BIGINT, request_metadata JSONB
      )
    ) WITH ORDINALITY AS asked (hold_id, credits, request_metadata, position)
    LEFT JOIN public.credit_holds AS hold
      ON hold.id = asked.hold_id AND hold.org_id = capture_plain_holds.org_id AND hold.status = 'held'
    LEFT JOIN account ON account.user_id = hold.user_id
  ), batch AS MATERIALIZED (
    SELECT
      count(*) AS asked,
      coalesce(
        bool_and(coalesce(item.captured BETWEEN 1 AND item.held AND item.allocation_id IS NOT NULL, FALSE)),
        TRUE
      ) AS is_plain
    FROM item
  ), closed AS (
    UPDATE public.credit_holds AS hold
    SET
      status = 'captured',
      captured_credits = hold.captured_credits + item.captured,
      updated_at = _now
    FROM item
    WHERE hold.id = item.hold_id
      AND hold.org_id = capture_plain_holds.org_id
      AND hold.status = 'held'
      AND (SELECT batch.is_plain FROM batch)
    RETURNING hold.id
  ), charge AS (
    INSERT INTO public.credit_usage_attribution (
      id, org_id, user_id, allocation_id, credits_used, service_type, service_name,
      request_id, request_metadata, hold_id, remaining_after, created_at, api_key_id
    )
    SELECT
      item.id, capture_plain_holds.org_id, item.user_id, item.allocation_id, item.captured,
      item.service_type, item.service_name, item.request_id, item.request_metadata,
      item.hold_id, item.remaining, _now, item.api_key_id
    FROM item
    WHERE (SELECT batch.is_plain FROM batch)
    ORDER BY item.request_id
  ), moved AS (
    UPDATE public.user_credit_allocations AS allocation
    SET
      held_credits = allocation.held_credits - total.held,
      used_credits = allocation.used_credits + total.captured,
      updated_at = _now
    FROM (
      SELECT item.allocation_id, sum(item.held)::BIGINT AS held, sum(item.captured)::BIGINT AS captured
      FROM item
      WHERE (SELECT batch.is_plain FROM batch)
      GROUP BY item.allocation_id
    ) AS total
    WHERE allocation.org_id = capture_plain_holds.org_id
      AND allocation.id = total.allocation_id
      -- Says to the planner that it is few.
      AND allocation.id = ANY(capture_plain_holds.allocation_ids)
      -- Not so only when a hold is named twice, which is undone below.
      AND allocation.held_credits >= total.held
  )
  SELECT
    batch.is_plain,
    batch.asked,
    (SELECT count(*) FROM closed),
    json_build_object('outcomes', (
      SELECT coalesce(
        json_agg(
          json_build_object(
            'hold_id', item.hold_id,
            'receipt', ROW(
              item.id, capture_plain_holds.org_id, item.user_id, item.captured, item.remaining,
              item.service_type, item.service_name, item.request_id, _now, FALSE
            )::ledger.receipt
          )
          ORDER BY item.position
        ),
        '[]'::JSON
      )
      FROM item
      WHERE batch.is_plain
    ))
  INTO _is_plain, _asked, _closed, _document
  FROM batch;

  IF NOT _is_plain THEN
    RETURN NULL;
  ELSIF _closed <> _asked THEN
    RAISE EXCEPTION USING ERRCODE = 'CR999', MESSAGE = 'A hold of the batch is named twice.';
  END IF;
  RETURN _document;
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_plain_holds FROM PUBLIC;
