-- What is watched in an organisation, and which alerts are open.
CREATE OR REPLACE FUNCTION ledger.list_alerts(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(list_alerts.org_id);
  document := jsonb_build_object(
    'rules', (
      SELECT coalesce(
        jsonb_agg(
          jsonb_build_object(
            'kind', rule.kind,
            'subject', nullif(rule.subject, ''),
            'threshold', rule.threshold,
            'updated_at', rule.updated_at
          )
          ORDER BY rule.kind COLLATE "C", rule.subject COLLATE "C"
        ),
        '[]'
      )
      FROM public.alert_rules AS rule
      WHERE rule.org_id = list_alerts.org_id
    ),
    'open', (
      SELECT coalesce(
        jsonb_agg(
          jsonb_build_object(
            'alert_id', alert.id,
            'kind', alert.kind,
            'subject', nullif(alert.subject, ''),
            'threshold', alert.threshold,
            'value', alert.value,
            'detail', alert.detail,
            'raised_at', alert.raised_at
          )
          ORDER BY alert.raised_at, alert.id
        ),
        '[]'
      )
      FROM public.credit_alerts AS alert
      WHERE alert.org_id = list_alerts.org_id AND alert.cleared_at IS NULL
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_alerts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_alerts TO credits_app;
