-- Organisations by id, page by page: those of a user, without deleted ones, or all there are.
CREATE OR REPLACE FUNCTION ledger.list_organizations(
  user_id TEXT DEFAULT NULL, "limit" INTEGER DEFAULT 100, cursor TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_organizations."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(list_organizations.cursor, '.');
BEGIN
  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(entry.document ORDER BY entry.id) FILTER (WHERE entry.position <= _limit), '[]'
    ),
    'next_cursor', CASE WHEN count(*) > _limit THEN ledger.write_cursor(
      max(entry.id) FILTER (WHERE entry.position <= _limit)
    ) END
  ) INTO document
  FROM (
    SELECT
      organization.id,
      ledger.organization_document(organization, member.role, member.is_default) AS document,
      row_number() OVER (ORDER BY organization.id) AS position
    FROM public.organizations AS organization
    LEFT JOIN public.organization_members AS member
      ON member.org_id = organization.id AND member.user_id = list_organizations.user_id
    WHERE (_after IS NULL OR organization.id > _after)
      AND (
        list_organizations.user_id IS NULL
        OR (member.user_id IS NOT NULL AND organization.status <> 'deleted')
      )
    ORDER BY organization.id
    LIMIT _limit + 1
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_organizations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_organizations TO credits_app;
