-- An organisation's rows that are in no link of its chain, of those created at `since` or later.
--
-- Each row looks for its own link, which `OFFSET 0` keeps from becoming a join: the planner knows nothing
-- about new tables, and read all links of the organisation for every row.
CREATE OR REPLACE FUNCTION ledger.unsealed_entries(org_id TEXT, since TIMESTAMPTZ)
RETURNS TABLE (kind TEXT, entry_id UUID, created_at TIMESTAMPTZ)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT 'charge', charge.id, charge.created_at
  FROM public.credit_usage_attribution AS charge
  WHERE charge.org_id = unsealed_entries.org_id
    AND charge.created_at >= unsealed_entries.since
    AND NOT EXISTS (
      SELECT FROM public.ledger_chain AS link
      WHERE link.org_id = charge.org_id AND link.entry_id = charge.id AND link.kind = 'charge'
      OFFSET 0
    )
  UNION ALL
  SELECT 'billing_event', event.id, event.created_at
  FROM public.org_billing_history AS event
  WHERE event.org_id = unsealed_entries.org_id
    AND event.created_at >= unsealed_entries.since
    AND NOT EXISTS (
      SELECT FROM public.ledger_chain AS link
      WHERE link.org_id = event.org_id AND link.entry_id = event.id AND link.kind = 'billing_event'
      OFFSET 0
    );
END;
$$;

REVOKE ALL ON FUNCTION ledger.unsealed_entries FROM PUBLIC;
