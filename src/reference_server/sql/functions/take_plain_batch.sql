-- The plain batch, as one statement: every charge is valid, no member has open holds or lacks credits for
-- all of theirs, there are no caps, and no request id holds credits. NULL, and nothing written, when that is
-- not so. That a request id was used before is left to the table's key to find, for the caller to undo it
-- all: ON CONFLICT would cost each charge a fifth more. The caller holds the locks of `allocation_ids`.
CREATE OR REPLACE FUNCTION ledger.take_plain_batch(org_id TEXT, charges JSONB, allocation_ids UUID[])
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
BEGIN
  WITH account AS MATERIALIZED (
    SELECT allocation.id, allocation.user_id, allocation.remaining_credits
    FROM public.user_credit_allocations AS allocation
    INNER JOIN public.organizations AS organization ON organization.id = allocation.org_id
    WHERE allocation.org_id = take_plain_batch.org_id
      AND allocation.id = ANY(take_plain_batch.allocation_ids)
      AND allocation.is_active
      AND NOT allocation.capped
      AND allocation.held_credits = 0
      AND organization.status = 'active'
  ), item AS MATERIALIZED (
    SELECT
      item.*,
      ledger.new_id() AS id,
      account.id AS allocation_id,
      account.remaining_credits
      - sum(item.credits) OVER (PARTITION BY item.user_id ORDER BY item.position) AS remaining
    FROM ROWS FROM (
      jsonb_to_recordset(take_plain_batch.charges) AS (
        user_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT,
        request_id TEXT, request_metadata JSONB, api_key_id TEXT
      )
    ) WITH ORDINALITY AS item (
      user_id, credits, service_type, service_name, request_id, request_metadata, api_key_id, position
    )
    LEFT JOIN account ON account.user_id = item.user_id
  ), batch AS MATERIALIZED (
    SELECT
      coalesce(bool_and(coalesce(ledger.is_amount(item.credits) AND item.remaining >= 0, FALSE)), TRUE)
      AND NOT EXISTS (
        SELECT FROM public.credit_holds AS hold
        WHERE hold.org_id = take_plain_batch.org_id
          AND hold.request_id = ANY(array_agg(item.request_id))
          AND hold.status = 'held'
      ) AS is_plain
    FROM item
  ), charge AS (
    INSERT INTO public.credit_usage_attribution (
      id, org_id, user_id, allocation_id, credits_used, service_type, service_name,
      request_id, request_metadata, remaining_after, created_at, api_key_id
    )
    SELECT
      item.id, take_plain_batch.org_id, item.user_id, item.allocation_id, item.credits,
      item.service_type, item.service_name, item.request_id, coalesce(item.request_metadata, '{}'),
      item.remaining, _now, item.api_key_id
    FROM item
    WHERE (SELECT batch.is_plain FROM batch)
    ORDER BY item.request_id
  ), taken AS (
    UPDATE public.user_credit_allocations AS allocation
    SET used_credits = allocation.used_credits + total.credits, updated_at = _now
    FROM (
      SELECT item.allocation_id, sum(item.credits)::BIGINT AS credits
      FROM item
      WHERE (SELECT batch.is_plain FROM batch)
      GROUP BY item.allocation_id
    ) AS total
    WHERE allocation.org_id = take_plain_batch.org_id
      AND allocation.id = total.allocation_id
      -- Says to the planner that it is few.
      AND allocation.id = ANY(take_plain_batch.allocation_ids)
  )
  SELECT
    batch.is_plain,
    json_build_object('outcomes', (
      SELECT coalesce(
        json_agg(
          json_build_object(
            'request_id', item.request_id,
            'receipt', json_build_object(
              'charge_id', item.id,
              'org_id', take_plain_batch.org_id,
              'user_id', item.user_id,
              'credits_used', item.credits,
              'remaining_credits', item.remaining,
              'service_type', item.service_type,
              'service_name', item.service_name,
              'request_id', item.request_id,
              'created_at', _now,
              'replayed', FALSE
            )
          )
          ORDER BY item.position
        ),
        '[]'::JSON
      )
      FROM item
      WHERE batch.is_plain
    ))
  INTO _is_plain, _document
  FROM batch;

  RETURN CASE WHEN _is_plain THEN _document END;
END;
$$;

REVOKE ALL ON FUNCTION ledger.take_plain_batch FROM PUBLIC;
