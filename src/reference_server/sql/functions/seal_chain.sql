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
  _sealed INTEGER := 0;
  _new RECORD;
BEGIN
  FOR _new IN
    SELECT unsealed.kind, unsealed.entry_id, ledger.entry_digest(unsealed.kind, entry) AS digest
    FROM (
      SELECT oldest.*
      FROM ledger.unsealed_entries(head.org_id, head.settled_before) AS oldest
      ORDER BY oldest.created_at, oldest.entry_id
      LIMIT "limit"
    ) AS unsealed
    CROSS JOIN LATERAL ledger.entry_of(head.org_id, unsealed.kind, unsealed.entry_id) AS entry
    WHERE entry IS NOT NULL
    ORDER BY unsealed.created_at, unsealed.entry_id
  LOOP
    _sealed := _sealed + 1;
    head.sequence := head.sequence + 1;
    head.digest := ledger.chain_digest(head.digest, head.sequence, _new.digest);
    INSERT INTO public.ledger_chain (org_id, sequence, kind, entry_id, entry_digest, digest)
    VALUES (head.org_id, head.sequence, _new.kind, _new.entry_id, _new.digest, head.digest);
  END LOOP;

  UPDATE public.ledger_heads AS kept
  SET
    sequence = head.sequence,
    digest = head.digest,
    settled_before = CASE
      WHEN _has_ended AND _sealed < "limit" THEN greatest(kept.settled_before, kept.candidate_at - _margin)
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
