-- An organisation's members by user id, page by page.
CREATE OR REPLACE FUNCTION ledger.list_members(
  org_id TEXT, "limit" INTEGER DEFAULT 100, cursor TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_members."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(list_members.cursor, '.');
BEGIN
  PERFORM ledger.require_organization(list_members.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(to_jsonb(ledger.member_row(entry.member)) ORDER BY entry.user_id)
      FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', CASE WHEN count(*) > _limit THEN ledger.write_cursor(
      max(entry.user_id) FILTER (WHERE entry.position <= _limit)
    ) END
  ) INTO document
  FROM (
    SELECT member, member.user_id, row_number() OVER (ORDER BY member.user_id) AS position
    FROM public.organization_members AS member
    WHERE member.org_id = list_members.org_id AND (_after IS NULL OR member.user_id > _after)
    ORDER BY member.user_id
    LIMIT _limit + 1
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_members FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_members TO credits_app;
