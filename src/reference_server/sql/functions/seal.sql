-- Lengthen the chains: of all organisations with new rows, or of one. At most `limit` rows.
--
-- Invariant: no row is skipped that commits late. A row that is in no link is found as long as it was
-- created at `settled_before` or later, which moves only over moments all of whose transactions have
-- ended. For one organisation all rows are looked at, whenever they were created.
--
-- Any number of processes may run this at once: a chain that another one lengthens is left to it.
CREATE OR REPLACE FUNCTION ledger.seal(
  org_id TEXT DEFAULT NULL, "limit" INTEGER DEFAULT 1000, OUT entries_sealed INTEGER
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _making_heads CONSTANT BIGINT := 111546413966195;
  -- An id that this transaction has had for a while says nothing about who has begun since.
  _is_new CONSTANT BOOLEAN := pg_current_xact_id_if_assigned() IS NULL;
  _now TIMESTAMPTZ;
  _xid XID8;
  _org_id TEXT;
  _head public.ledger_heads;
BEGIN
  entries_sealed := 0;
  IF seal.org_id IS NOT NULL THEN
    PERFORM ledger.require_organization(seal.org_id);
  END IF;
  FOR _org_id IN
    SELECT organization.id
    FROM public.organizations AS organization
    LEFT JOIN public.ledger_heads AS head ON head.org_id = organization.id
    WHERE NOT ledger.is_elsewhere(organization.id) AND (
      organization.id = seal.org_id
      OR seal.org_id IS NULL AND (
        EXISTS (
          SELECT FROM public.credit_usage_attribution AS charge
          WHERE charge.org_id = organization.id
            AND charge.created_at >= coalesce(head.settled_before, '-infinity')
        )
        OR EXISTS (
          SELECT FROM public.org_billing_history AS event
          WHERE event.org_id = organization.id
            AND event.created_at >= coalesce(head.settled_before, '-infinity')
        )
      )
    )
    ORDER BY organization.id
  LOOP
    EXIT WHEN entries_sealed >= seal."limit";
    IF _is_new AND _xid IS NULL THEN
      -- In this order: who has a row from before this moment has a smaller id.
      _now := ledger.now();
      _xid := pg_current_xact_id();
    END IF;
    IF NOT EXISTS (SELECT FROM public.ledger_heads AS head WHERE head.org_id = _org_id) THEN
      -- One process at a time makes heads: it would wait for one that another is making.
      CONTINUE WHEN NOT pg_try_advisory_xact_lock(_making_heads);
      INSERT INTO public.ledger_heads (org_id) VALUES (_org_id) ON CONFLICT DO NOTHING;
    END IF;
    SELECT head.* INTO _head
    FROM public.ledger_heads AS head
    WHERE head.org_id = _org_id
    FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    IF seal.org_id IS NOT NULL THEN
      _head.settled_before := '-infinity';
    END IF;
    entries_sealed :=
      entries_sealed + ledger.seal_chain(_head, seal."limit" - entries_sealed, _now, _xid);
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.seal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.seal TO credits_app;
