-- An organisation's allocations by user id, page by page.
CREATE OR REPLACE FUNCTION ledger.list_allocations(
  org_id TEXT, "limit" INTEGER DEFAULT 100, cursor TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_allocations."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(list_allocations.cursor, '.');
BEGIN
  PERFORM ledger.require_organization(list_allocations.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(entry) - 'position' ORDER BY entry.user_id
      ) FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', CASE WHEN count(*) > _limit THEN ledger.write_cursor(
      max(entry.user_id) FILTER (WHERE entry.position <= _limit)
    ) END
  ) INTO document
  FROM (
    SELECT
      allocation.org_id, allocation.user_id, allocation.allocated_credits, allocation.used_credits,
      allocation.held_credits, allocation.remaining_credits, allocation.reset_period,
      allocation.next_reset_date, allocation.is_active, allocation.notes, allocation.updated_at,
      row_number() OVER (ORDER BY allocation.user_id) AS position
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = list_allocations.org_id
      AND (_after IS NULL OR allocation.user_id > _after)
    ORDER BY allocation.user_id
    LIMIT _limit + 1
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_allocations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_allocations TO credits_app;
