-- An organisation's charges and refunds, newest first, page by page. Planned anew at each call, so that
-- the filters that are given choose the index: `latest_of_member` with a user, else `latest_of_org`.
CREATE OR REPLACE FUNCTION ledger.list_charges(
  org_id TEXT,
  user_id TEXT DEFAULT NULL,
  service_type TEXT DEFAULT NULL,
  since TIMESTAMPTZ DEFAULT NULL,
  until TIMESTAMPTZ DEFAULT NULL,
  "limit" INTEGER DEFAULT 100,
  cursor TEXT DEFAULT NULL,
  OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_charges."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(
    list_charges.cursor, '^[0-9]{1,16}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  );
  _after_at CONSTANT TIMESTAMPTZ :=
    TIMESTAMPTZ 'epoch' + split_part(_after, ':', 1)::BIGINT * INTERVAL '1 microsecond';
  _after_id CONSTANT UUID := split_part(_after, ':', 2);
  _allocation_id UUID;
BEGIN
  PERFORM ledger.require_organization(list_charges.org_id);
  IF list_charges.user_id IS NOT NULL THEN
    SELECT coalesce(
      (
        SELECT allocation.id
        FROM public.user_credit_allocations AS allocation
        WHERE allocation.org_id = list_charges.org_id AND allocation.user_id = list_charges.user_id
      ),
      '00000000-0000-0000-0000-000000000000'
    ) INTO _allocation_id;
  END IF;

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(entry) - ARRAY['position', 'has_next'] ORDER BY entry.position
      ) FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', max(
      ledger.write_cursor((extract(EPOCH FROM entry.created_at) * 1000000)::BIGINT || ':' || entry.charge_id)
    ) FILTER (WHERE entry.position = _limit AND entry.has_next)
  ) INTO document
  FROM (
    SELECT page.*, row_number() OVER newest AS position, lead(TRUE, 1, FALSE) OVER newest AS has_next
    FROM (
      SELECT
        charge.id AS charge_id, charge.org_id, charge.user_id, charge.credits_used,
        charge.service_type, charge.service_name, charge.request_id,
        -- What is in an archive that is detached is not shown.
        coalesce(
          charge.request_metadata,
          ledger.archived_metadata(charge.org_id, charge.id, charge.created_at)::JSONB,
          '{}'
        ) AS request_metadata,
        charge.refund_of, charge.created_at
      FROM public.credit_usage_attribution AS charge
      -- An allocation is of one organisation: naming both would have the planner expect few of its rows.
      WHERE CASE
          WHEN _allocation_id IS NULL THEN charge.org_id = list_charges.org_id
          ELSE charge.allocation_id = _allocation_id
        END
        AND (list_charges.service_type IS NULL OR charge.service_type = list_charges.service_type)
        AND (list_charges.since IS NULL OR charge.created_at >= list_charges.since)
        AND (list_charges.until IS NULL OR charge.created_at < list_charges.until)
        AND (_after IS NULL OR (charge.created_at, charge.id) < (_after_at, _after_id))
      ORDER BY charge.created_at DESC, charge.id DESC
      LIMIT _limit + 1
    ) AS page
    WINDOW newest AS (ORDER BY page.created_at DESC, page.charge_id DESC)
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_charges FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_charges TO credits_app;
