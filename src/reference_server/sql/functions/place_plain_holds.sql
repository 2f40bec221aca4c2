-- The plain batch of holds, as one statement: every hold is valid, no member lacks credits for all of theirs
-- (overage is not counted on), there are no caps, and no request id was charged. NULL, and nothing written,
-- when that is not so. That a request id holds already is left to the table's key to find, for the caller to
-- undo it all. The caller holds the locks of `allocation_ids`.
CREATE OR REPLACE FUNCTION ledger.place_plain_holds(org_id TEXT, holds JSONB, allocation_ids UUID[])
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
    SELECT allocation.id, allocation.user_id, allocation.remaining_credits - allocation.held_credits AS free
    FROM public.user_credit_allocations AS allocation
    INNER JOIN public.organizations AS organization ON organization.id = allocation.org_id
    WHERE allocation.org_id = place_plain_holds.org_id
      AND allocation.id = ANY(place_plain_holds.allocation_ids)
      AND allocation.is_active
      AND NOT allocation.capped
      AND organization.status = 'active'
  ), item AS MATERIALIZED (
    SELECT
      item.*,
      ledger.new_id() AS id,
      account.id AS allocation_id,
      _now + make_interval(secs => item.ttl_seconds) AS expires_at,
      account.free - sum(item.credits) OVER (PARTITION BY item.user_id) AS free
    FROM ROWS FROM (
      jsonb_to_recordset(place_plain_holds.holds) AS (
        user_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT,
        request_id TEXT, request_metadata JSONB, ttl_seconds INTEGER, api_key_id TEXT, by_payer BOOLEAN
      )
    ) WITH ORDINALITY AS item (
      user_id, credits, service_type, service_name, request_id, request_metadata, ttl_seconds, api_key_id,
      by_payer, position
    )
    LEFT JOIN account ON account.user_id = item.user_id
  ), batch AS MATERIALIZED (
    SELECT
      coalesce(
        bool_and(coalesce(
          ledger.is_amount(item.credits) AND item.free >= 0 AND item.ttl_seconds BETWEEN 1 AND 86400, FALSE
        )),
        TRUE
      )
      AND NOT EXISTS (
        SELECT FROM public.credit_usage_attribution AS charge
        WHERE charge.org_id = place_plain_holds.org_id AND charge.request_id = ANY(array_agg(item.request_id))
      ) AS is_plain
    FROM item
  ), hold AS (
    INSERT INTO public.credit_holds (
      id, org_id, user_id, credits, service_type, service_name,
      request_id, request_metadata, expires_at, created_at, updated_at, api_key_id, by_payer
    )
    SELECT
      item.id, place_plain_holds.org_id, item.user_id, item.credits, item.service_type, item.service_name,
      item.request_id, coalesce(item.request_metadata, '{}'), item.expires_at, _now, _now, item.api_key_id,
      coalesce(item.by_payer, FALSE)
    FROM item
    WHERE (SELECT batch.is_plain FROM batch)
    ORDER BY item.request_id
  ), set_aside AS (
    UPDATE public.user_credit_allocations AS allocation
    SET held_credits = allocation.held_credits + total.credits, updated_at = _now
    FROM (
      SELECT item.allocation_id, sum(item.credits)::BIGINT AS credits
      FROM item
      WHERE (SELECT batch.is_plain FROM batch)
      GROUP BY item.allocation_id
    ) AS total
    WHERE allocation.org_id = place_plain_holds.org_id
      AND allocation.id = total.allocation_id
      -- Says to the planner that it is few.
      AND allocation.id = ANY(place_plain_holds.allocation_ids)
  )
  SELECT
    batch.is_plain,
    json_build_object('outcomes', (
      SELECT coalesce(
        json_agg(
          json_build_object(
            'request_id', item.request_id,
            'hold', ROW(
              item.id, place_plain_holds.org_id, item.user_id, item.credits, 0, 'held',
              item.service_type, item.service_name, item.request_id, item.expires_at, _now, FALSE,
              coalesce(item.by_payer, FALSE)
            )::ledger.hold
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

REVOKE ALL ON FUNCTION ledger.place_plain_holds FROM PUBLIC;
