-- Compute every link anew, of one organisation's chain or of all, and answer the first of each chain that
-- does not fit. One statement: it sees one moment. Of rows whose archive is detached only the links are
-- looked at: what was sealed is in the archive, and can be checked with it.
CREATE OR REPLACE FUNCTION ledger.verify_chain(org_id TEXT DEFAULT NULL, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
  IF verify_chain.org_id IS NOT NULL THEN
    PERFORM ledger.require_organization(verify_chain.org_id);
  END IF;

  WITH head AS MATERIALIZED (
    SELECT kept.*
    FROM public.ledger_heads AS kept
    WHERE verify_chain.org_id IS NULL OR kept.org_id = verify_chain.org_id
  ), link AS NOT MATERIALIZED (
    SELECT
      row.*,
      lag(row.digest, 1, decode(repeat('00', 32), 'hex')) OVER chain AS previous,
      lag(row.sequence, 1, 0::BIGINT) OVER chain AS previous_sequence,
      lead(FALSE, 1, TRUE) OVER chain AS is_last
    FROM public.ledger_chain AS row
    WHERE verify_chain.org_id IS NULL OR row.org_id = verify_chain.org_id
    WINDOW chain AS (PARTITION BY row.org_id ORDER BY row.sequence)
  ), computed AS (
    SELECT
      link.*, head.sequence AS head_sequence, head.digest AS head_digest,
      entry IS NULL AS is_gone, ledger.entry_digest(link.kind, entry) AS row_digest,
      entry IS NULL AND ledger.is_detached(link.org_id, link.kind, link.entry_id) AS is_detached
    FROM link
    LEFT JOIN head ON head.org_id = link.org_id
    CROSS JOIN LATERAL ledger.entry_of(link.org_id, link.kind, link.entry_id) AS entry
  ), unsealed AS (
    SELECT organization.id AS org_id, late.*, late.created_at < head.settled_before AS is_overdue
    FROM public.organizations AS organization
    LEFT JOIN head ON head.org_id = organization.id
    CROSS JOIN LATERAL ledger.unsealed_entries(organization.id, '-infinity') AS late
    WHERE verify_chain.org_id IS NULL OR organization.id = verify_chain.org_id
  ), finding AS (
    SELECT
      computed.org_id, computed.sequence, computed.kind, computed.entry_id,
      CASE
        WHEN computed.previous_sequence <> computed.sequence - 1 THEN 'links before this one are missing'
        WHEN computed.is_gone AND NOT computed.is_detached
          THEN 'the row is missing, or there is a second one under its id'
        WHEN computed.row_digest <> computed.entry_digest AND NOT computed.is_detached
          THEN 'the row was changed after it was sealed'
        WHEN
          computed.digest <> ledger.chain_digest(computed.previous, computed.sequence, computed.entry_digest)
          THEN 'the link was changed'
        WHEN
          computed.is_last
          AND (computed.sequence, computed.digest)
          IS DISTINCT FROM (computed.head_sequence, computed.head_digest)
          THEN 'the chain does not end at its head'
      END AS reason
    FROM computed
    UNION ALL
    SELECT head.org_id, head.sequence, NULL, NULL, 'the whole chain is missing'
    FROM head
    WHERE head.sequence > 0
      AND NOT EXISTS (SELECT FROM public.ledger_chain AS row WHERE row.org_id = head.org_id)
    UNION ALL
    SELECT
      unsealed.org_id, NULL, unsealed.kind, unsealed.entry_id,
      'the row is not sealed, and older than what is: it was added later, under an earlier date'
    FROM unsealed
    WHERE unsealed.is_overdue
  )
  SELECT jsonb_build_object(
    'entries', (SELECT count(*) FROM link),
    'detached', (SELECT count(*) FROM computed WHERE computed.is_detached),
    'waiting', (SELECT count(*) FROM unsealed),
    'breaks', coalesce(
      (
        SELECT jsonb_agg(to_jsonb(broken) ORDER BY broken.org_id)
        FROM (
          SELECT DISTINCT ON (finding.org_id) finding.*
          FROM finding
          WHERE finding.reason IS NOT NULL
          ORDER BY finding.org_id, finding.sequence, finding.entry_id
        ) AS broken
      ),
      '[]'
    )
  ) INTO document;
END;
$$;

REVOKE ALL ON FUNCTION ledger.verify_chain FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.verify_chain TO credits_app;
