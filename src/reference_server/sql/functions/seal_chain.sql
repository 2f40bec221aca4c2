-- Lengthen one chain by at most `limit` rows, the oldest first. The caller holds the lock of the head.
-- `now` is a moment after which `xid`, this transaction's id, was given out.
CREATE OR REPLACE FUNCTION ledger.seal_chain(
  head public.ledger_heads, "limit" INTEGER, now TIMESTAMPTZ, xid XID8
) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  -- A row is stamped a moment before its transaction has an id: this is more than that moment.
  _margin CONSTANT INTERVAL := '10 seconds';
  -- Looked at before the rows are: what has ended by now is seen below.
  _has_ended CONSTANT BOOLEAN := pg_snapshot_xmin(pg_current_snapshot()) >= head.candidate_xid;
  _sealed INTEGER;
  _digest BYTEA;
  -- All that was created before it, of what is committed, was looked at: where the next round begins.
  _seen_before TIMESTAMPTZ;
BEGIN
  WITH oldest AS MATERIALIZED (
    SELECT unsealed.*
    FROM ledger.unsealed_entries(head.org_id, head.settled_before) AS unsealed
    ORDER BY unsealed.created_at, unsealed.entry_id
    LIMIT "limit"
  ), entry AS (
    SELECT
      oldest.*,
      ledger.entry_digest(oldest.kind, entry) AS entry_digest,
      head.sequence + row_number() OVER (ORDER BY oldest.created_at, oldest.entry_id) AS sequence
    FROM oldest
    CROSS JOIN LATERAL ledger.entry_of(head.org_id, oldest.kind, oldest.entry_id) AS entry
    WHERE entry IS NOT NULL
  ), link AS MATERIALIZED (
    SELECT
      entry.*,
      ledger.chained(head.digest, entry.sequence, entry.entry_digest) OVER (
        ORDER BY entry.sequence ROWS UNBOUNDED PRECEDING
      ) AS digest
    FROM entry
  ), written AS (
    INSERT INTO public.ledger_chain (org_id, sequence, kind, entry_id, entry_digest, digest)
    SELECT head.org_id, link.sequence, link.kind, link.entry_id, link.entry_digest, link.digest
    FROM link
  )
  SELECT
    (SELECT count(*) FROM link),
    (SELECT last.digest FROM link AS last ORDER BY last.sequence DESC LIMIT 1),
    CASE WHEN count(*) < "limit" THEN 'infinity' ELSE max(oldest.created_at) END
  INTO _sealed, _digest, _seen_before
  FROM oldest;

  UPDATE public.ledger_heads AS kept
  SET
    sequence = head.sequence + _sealed,
    digest = coalesce(_digest, head.digest),
    settled_before = CASE
      WHEN _has_ended
        THEN greatest(kept.settled_before, least(kept.candidate_at - _margin, _seen_before))
      ELSE kept.settled_before
    END,
    -- A candidate of the future comes from another cluster, out of a dump.
    candidate_at = CASE
      WHEN coalesce(_has_ended OR kept.candidate_xid > xid, TRUE) THEN now ELSE kept.candidate_at
    END,
    candidate_xid = CASE
      WHEN coalesce(_has_ended OR kept.candidate_xid > xid, TRUE) THEN xid ELSE kept.candidate_xid
    END
  WHERE kept.org_id = head.org_id;
  RETURN _sealed;
END;
$$;

REVOKE ALL ON FUNCTION ledger.seal_chain FROM PUBLIC;
