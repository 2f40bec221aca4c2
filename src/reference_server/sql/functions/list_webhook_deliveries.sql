-- What was sent to an organisation's endpoints, and what is to be sent, newest first, page by page.
CREATE OR REPLACE FUNCTION ledger.list_webhook_deliveries(
  org_id TEXT,
  webhook_id UUID DEFAULT NULL,
  status TEXT DEFAULT NULL,
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
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_webhook_deliveries."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(
    list_webhook_deliveries.cursor, '^[0-9]{1,16}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  );
  _after_at CONSTANT TIMESTAMPTZ :=
    TIMESTAMPTZ 'epoch' + split_part(_after, ':', 1)::BIGINT * INTERVAL '1 microsecond';
  _after_id CONSTANT UUID := split_part(_after, ':', 2);
BEGIN
  PERFORM ledger.require_organization(list_webhook_deliveries.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(entry.shown ORDER BY entry.position) FILTER (WHERE entry.position <= _limit), '[]'
    ),
    'next_cursor', max(
      ledger.write_cursor((extract(EPOCH FROM entry.created_at) * 1000000)::BIGINT || ':' || entry.id)
    ) FILTER (WHERE entry.position = _limit AND entry.has_next)
  ) INTO document
  FROM (
    SELECT page.*, row_number() OVER newest AS position, lead(TRUE, 1, FALSE) OVER newest AS has_next
    FROM (
      SELECT delivery.id, delivery.created_at, alerts.delivery_row(delivery) AS shown
      FROM public.webhook_deliveries AS delivery
      WHERE delivery.org_id = list_webhook_deliveries.org_id
        AND (
          list_webhook_deliveries.webhook_id IS NULL
          OR delivery.endpoint_id = list_webhook_deliveries.webhook_id
        )
        AND (list_webhook_deliveries.status IS NULL OR delivery.status = list_webhook_deliveries.status)
        AND (_after IS NULL OR (delivery.created_at, delivery.id) < (_after_at, _after_id))
      ORDER BY delivery.created_at DESC, delivery.id DESC
      LIMIT _limit + 1
    ) AS page
    WINDOW newest AS (ORDER BY page.created_at DESC, page.id DESC)
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_webhook_deliveries FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_webhook_deliveries TO credits_app;
