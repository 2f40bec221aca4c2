-- An organisation's billing events, newest first, page by page, by the primary key of the history.
CREATE OR REPLACE FUNCTION ledger.list_billing_history(
  org_id TEXT,
  event_type TEXT DEFAULT NULL,
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
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_billing_history."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(
    list_billing_history.cursor, '^[0-9]{1,16}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  );
  _after_at CONSTANT TIMESTAMPTZ :=
    TIMESTAMPTZ 'epoch' + split_part(_after, ':', 1)::BIGINT * INTERVAL '1 microsecond';
  _after_id CONSTANT UUID := split_part(_after, ':', 2);
BEGIN
  PERFORM ledger.require_organization(list_billing_history.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(entry) - ARRAY['position', 'has_next'] ORDER BY entry.position
      ) FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', max(
      ledger.write_cursor((extract(EPOCH FROM entry.created_at) * 1000000)::BIGINT || ':' || entry.event_id)
    ) FILTER (WHERE entry.position = _limit AND entry.has_next)
  ) INTO document
  FROM (
    SELECT page.*, row_number() OVER newest AS position, lead(TRUE, 1, FALSE) OVER newest AS has_next
    FROM (
      SELECT
        event.id AS event_id, event.org_id, event.event_type, event.amount, event.currency, event.credits,
        event.subscription_id, event.payment_status, event.payment_method, event.paid_at,
        event.period_start, event.period_end, ledger.in_credits(event.event_metadata) AS event_metadata,
        event.notes, event.created_at
      FROM public.org_billing_history AS event
      WHERE event.org_id = list_billing_history.org_id
        AND (list_billing_history.event_type IS NULL OR event.event_type = list_billing_history.event_type)
        AND (_after IS NULL OR (event.created_at, event.id) < (_after_at, _after_id))
      ORDER BY event.created_at DESC, event.id DESC
      LIMIT _limit + 1
    ) AS page
    WINDOW newest AS (ORDER BY page.created_at DESC, page.event_id DESC)
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_billing_history FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_billing_history TO credits_app;
