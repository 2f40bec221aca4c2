-- An organisation's links in their order, with the rows that they seal as they are now.
CREATE OR REPLACE FUNCTION ledger.list_chain(
  org_id TEXT, after BIGINT DEFAULT 0, "limit" INTEGER DEFAULT 100, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(list_chain.org_id);

  SELECT jsonb_build_object(
    'org_id', list_chain.org_id,
    'previous', encode(
      coalesce(
        (
          SELECT link.digest
          FROM public.ledger_chain AS link
          WHERE link.org_id = list_chain.org_id AND link.sequence = list_chain.after
        ),
        decode(repeat('00', 32), 'hex')
      ),
      'hex'
    ),
    'items', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'sequence', page.sequence,
          'kind', page.kind,
          'entry', coalesce(
            jsonb_object(
              ledger.entry_names(page.kind),
              ledger.entry_of(list_chain.org_id, page.kind, page.entry_id)
            ),
            '{}'
          ),
          -- What stands for a row whose archive is detached.
          'entry_digest', CASE
            WHEN ledger.entry_of(list_chain.org_id, page.kind, page.entry_id) IS NULL
              AND ledger.is_detached(list_chain.org_id, page.kind, page.entry_id)
              THEN encode(page.entry_digest, 'hex')
          END,
          'digest', encode(page.digest, 'hex')
        )
        ORDER BY page.sequence
      ),
      '[]'
    )
  ) INTO document
  FROM (
    SELECT link.*
    FROM public.ledger_chain AS link
    WHERE link.org_id = list_chain.org_id AND link.sequence > list_chain.after
    ORDER BY link.sequence
    LIMIT least(greatest(list_chain."limit", 1), 500)
  ) AS page;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_chain FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_chain TO credits_app;
