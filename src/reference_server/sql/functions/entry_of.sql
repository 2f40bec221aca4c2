-- A row as it is digested: its values as texts, in the order of `ledger.entry_names`. NULL unless there is
-- exactly one such row: a second one under the same id would hide behind the first. NULL as well if some of
-- it is in an archive that is detached.
--
-- A row is looked for by its id, and only then asked for its organisation (`OFFSET 0`): about new tables the
-- planner knows nothing, and read all rows of the organisation for one.
CREATE OR REPLACE FUNCTION ledger.entry_of(org_id TEXT, kind TEXT, entry_id UUID) RETURNS TEXT[]
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _entry TEXT[];
BEGIN
  IF entry_of.kind = 'charge' THEN
    SELECT CASE WHEN count(*) = 1 AND count(archive.metadata) = 1 THEN max(ARRAY[
      charge.id::TEXT, charge.org_id, charge.user_id, charge.allocation_id::TEXT, charge.credits_used::TEXT,
      charge.service_type, charge.service_name, charge.api_cost::TEXT, charge.markup_applied::TEXT,
      charge.request_id, archive.metadata, charge.refund_of::TEXT, charge.hold_id::TEXT,
      charge.remaining_after::TEXT, charge.refundable_after::TEXT, ledger.entry_moment(charge.created_at),
      charge.api_key_id
    ]) END INTO _entry
    FROM (
      SELECT same.* FROM public.credit_usage_attribution AS same WHERE same.id = entry_of.entry_id OFFSET 0
    ) AS charge
    CROSS JOIN LATERAL (
      SELECT CASE
        WHEN charge.request_metadata IS NOT NULL THEN charge.request_metadata::TEXT
        ELSE ledger.archived_metadata(charge.org_id, charge.id, charge.created_at)
      END AS metadata
    ) AS archive
    WHERE charge.org_id = entry_of.org_id;
  ELSE
    SELECT ARRAY[
      event.id::TEXT, event.org_id, event.subscription_id::TEXT, event.event_type, event.amount::TEXT,
      event.currency, event.credits::TEXT, event.request_id, event.payment_status, event.payment_method,
      ledger.entry_moment(event.paid_at), ledger.entry_moment(event.period_start),
      ledger.entry_moment(event.period_end), event.event_metadata::TEXT, event.notes,
      ledger.entry_moment(event.created_at)
    ] INTO _entry
    FROM public.org_billing_history AS event
    WHERE event.org_id = entry_of.org_id AND event.id = entry_of.entry_id;
  END IF;
  RETURN _entry;
END;
$$;

REVOKE ALL ON FUNCTION ledger.entry_of FROM PUBLIC;
