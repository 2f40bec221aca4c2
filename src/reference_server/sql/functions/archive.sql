-- Move the metadata of sealed charges that were created before a moment into the archive: of at most `limit`
-- of them, the oldest first, organisation by organisation. Answers how many; none means that it is done.
--
-- Invariant: a charge is as it was sealed before it is archived, and its row in the archive is that row. The
-- request id, the amounts and all that a replay answers stay where they are. Charges wait for none of this:
-- no row that they lock is touched.
--
-- Any number of processes may run this at once, beside the server: a chain that another one works on is left
-- to it. For the owner of the tables, who may make partitions.
CREATE OR REPLACE FUNCTION ledger.archive(
  "before" TIMESTAMPTZ, "limit" INTEGER DEFAULT 1000, OUT charges_archived INTEGER
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _head public.ledger_heads;
  _until TIMESTAMPTZ;
  _month TIMESTAMPTZ;
  _oldest UUID[];
  _latest TIMESTAMPTZ;
  _changed UUID;
BEGIN
  charges_archived := 0;
  FOR _head IN
    SELECT head.*
    FROM public.ledger_heads AS head
    WHERE head.archived_before < least(archive."before", head.settled_before)
      -- What has left stays as it was, and is archived where it is now.
      AND NOT ledger.is_elsewhere(head.org_id)
    ORDER BY head.org_id
    FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    EXIT WHEN charges_archived >= archive."limit";
    -- What was created before `settled_before` is sealed, and nothing is added to it any more.
    _until := least(archive."before", _head.settled_before);
    SELECT array_agg(oldest.id), max(oldest.created_at) INTO _oldest, _latest
    FROM (
      SELECT charge.id, charge.created_at
      FROM public.credit_usage_attribution AS charge
      WHERE charge.org_id = _head.org_id
        AND charge.created_at >= _head.archived_before
        AND charge.created_at < _until
        AND charge.request_metadata <> '{}'
      ORDER BY charge.created_at, charge.id
      LIMIT archive."limit" - charges_archived
    ) AS oldest;
    charges_archived := charges_archived + coalesce(cardinality(_oldest), 0);

    FOR _month IN
      SELECT DISTINCT date_trunc('month', charge.created_at, 'UTC')
      FROM public.credit_usage_attribution AS charge
      WHERE charge.id = ANY(_oldest) AND charge.org_id = _head.org_id
    LOOP
      PERFORM ledger.require_archive_of(_month);
    END LOOP;

    SELECT charge.id INTO _changed
    FROM public.credit_usage_attribution AS charge
    LEFT JOIN public.ledger_chain AS link
      ON link.org_id = charge.org_id AND link.entry_id = charge.id AND link.kind = 'charge'
    WHERE charge.id = ANY(_oldest)
      AND charge.org_id = _head.org_id
      AND link.entry_digest IS DISTINCT FROM
      ledger.entry_digest('charge', ledger.entry_of(charge.org_id, 'charge', charge.id))
    LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'The charge % is not as it was sealed, and is not archived.', _changed
        USING ERRCODE = 'integrity_constraint_violation', HINT = 'Run `credits verify`.';
    END IF;

    INSERT INTO public.credit_usage_archive (org_id, charge_id, created_at, entry)
    SELECT
      charge.org_id, charge.id, charge.created_at, ledger.entry_of(charge.org_id, 'charge', charge.id)
    FROM public.credit_usage_attribution AS charge
    WHERE charge.id = ANY(_oldest) AND charge.org_id = _head.org_id;
    UPDATE public.credit_usage_attribution AS charge
    SET request_metadata = NULL
    WHERE charge.id = ANY(_oldest) AND charge.org_id = _head.org_id;
    UPDATE public.ledger_heads AS head
    SET archived_before = CASE WHEN charges_archived < archive."limit" THEN _until ELSE _latest END
    WHERE head.org_id = _head.org_id;
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.archive FROM PUBLIC;
