-- What administrators did in an organisation, newest first, page by page.
CREATE OR REPLACE FUNCTION ledger.list_audit(
  org_id TEXT, "limit" INTEGER DEFAULT 100, cursor TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_audit."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(
    list_audit.cursor, '^[0-9]{1,16}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  );
  _after_at CONSTANT TIMESTAMPTZ :=
    TIMESTAMPTZ 'epoch' + split_part(_after, ':', 1)::BIGINT * INTERVAL '1 microsecond';
  _after_id CONSTANT UUID := split_part(_after, ':', 2);
BEGIN
  PERFORM ledger.require_organization(list_audit.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(entry) - ARRAY['position', 'has_next'] ORDER BY entry.position
      ) FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', max(
      ledger.write_cursor((extract(EPOCH FROM entry.created_at) * 1000000)::BIGINT || ':' || entry.entry_id)
    ) FILTER (WHERE entry.position = _limit AND entry.has_next)
  ) INTO document
  FROM (
    SELECT page.*, row_number() OVER newest AS position, lead(TRUE, 1, FALSE) OVER newest AS has_next
    FROM (
      SELECT
        entry.id AS entry_id, entry.org_id, entry.actor, entry.actor_kind, entry.action, entry.subject,
        ledger.in_credits(entry.details -> 'before') AS before,
        ledger.in_credits(entry.details -> 'after') AS after,
        coalesce(entry.details -> 'secrets', '[]') AS secrets,
        entry.request_id, entry.created_at
      FROM public.audit_log AS entry
      WHERE entry.org_id = list_audit.org_id
        AND (_after IS NULL OR (entry.created_at, entry.id) < (_after_at, _after_id))
      ORDER BY entry.created_at DESC, entry.id DESC
      LIMIT _limit + 1
    ) AS page
    WINDOW newest AS (ORDER BY page.created_at DESC, page.entry_id DESC)
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_audit TO credits_app;
