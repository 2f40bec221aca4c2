-- A user's transactions, newest first, page by page. Amounts are millicredits. Planned anew at each call,
-- so that the filters that are given count.
CREATE OR REPLACE FUNCTION ledger.list_transactions(
  user_id TEXT,
  transaction_type TEXT DEFAULT NULL,
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
  _limit CONSTANT INTEGER := least(greatest(coalesce(list_transactions."limit", 100), 1), 500);
  _after CONSTANT TEXT := ledger.read_cursor(list_transactions.cursor, '^[0-9]{1,16}:[0-9]{1,18}$');
  _after_at CONSTANT TIMESTAMPTZ :=
    TIMESTAMPTZ 'epoch' + split_part(_after, ':', 1)::BIGINT * INTERVAL '1 microsecond';
  _after_id CONSTANT BIGINT := split_part(_after, ':', 2);
  _person CONSTANT public.users := ledger.find_user(list_transactions.user_id);
BEGIN
  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(entry) - ARRAY['position', 'has_next'] ORDER BY entry.position
      ) FILTER (WHERE entry.position <= _limit),
      '[]'
    ),
    'next_cursor', max(
      ledger.write_cursor(
        (extract(EPOCH FROM entry.created_at) * 1000000)::BIGINT || ':' || entry.transaction_id
      )
    ) FILTER (WHERE entry.position = _limit AND entry.has_next)
  ) INTO document
  FROM (
    SELECT page.*, row_number() OVER newest AS position, lead(TRUE, 1, FALSE) OVER newest AS has_next
    FROM (
      SELECT
        entry.id AS transaction_id, ledger.user_name(_person) AS user_id,
        (entry.amount * 1000)::BIGINT AS amount, (entry.balance_after * 1000)::BIGINT AS balance_after,
        entry.description, entry.transaction_type, entry.service_type, entry.service_name,
        entry.request_id, entry.transaction_metadata AS request_metadata,
        entry.refund_of, entry.hold_id, entry.created_at
      FROM public.credits_transactions AS entry
      WHERE entry.user_id = _person.id
        AND (
          list_transactions.transaction_type IS NULL
          OR entry.transaction_type = list_transactions.transaction_type
        )
        AND (list_transactions.since IS NULL OR entry.created_at >= list_transactions.since)
        AND (list_transactions.until IS NULL OR entry.created_at < list_transactions.until)
        AND (_after IS NULL OR (entry.created_at, entry.id) < (_after_at, _after_id))
      ORDER BY entry.created_at DESC, entry.id DESC
      LIMIT _limit + 1
    ) AS page
    WINDOW newest AS (ORDER BY page.created_at DESC, page.transaction_id DESC)
  ) AS entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_transactions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_transactions TO credits_app;
