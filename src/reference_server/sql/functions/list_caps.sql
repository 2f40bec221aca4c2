-- An organisation's caps by scope, subject and period, with what counts against each now.
CREATE OR REPLACE FUNCTION ledger.list_caps(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
BEGIN
  PERFORM ledger.require_organization(list_caps.org_id);

  SELECT jsonb_build_object('caps', coalesce(
    jsonb_agg(
      jsonb_build_object(
        'scope', cap.scope,
        'subject', nullif(cap.subject, ''),
        'period', cap.period,
        'credits', cap.credits,
        'used_credits', ledger.used_of_cap(cap.period, cap.window_start, cap.used_credits, _now),
        'resets_at', ledger.cap_resets_at(cap.period, _now),
        'updated_at', cap.updated_at
      )
      ORDER BY cap.scope COLLATE "C", cap.subject COLLATE "C", cap.period COLLATE "C"
    ),
    '[]'
  )) INTO document
  FROM public.credit_caps AS cap
  WHERE cap.org_id = list_caps.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_caps FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_caps TO credits_app;
