-- Set what a figure is watched for, or without a threshold watch it no more. One that is as it should be
-- stays untouched. An alert of a figure that nobody watches is closed by the next round.
CREATE OR REPLACE FUNCTION ledger.set_alert(
  org_id TEXT,
  kind TEXT,
  subject TEXT DEFAULT NULL,
  threshold BIGINT DEFAULT NULL,
  updated_by TEXT DEFAULT NULL,
  OUT document JSONB
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _subject CONSTANT TEXT := coalesce(set_alert.subject, '');
BEGIN
  IF set_alert.kind IS NULL
    OR set_alert.kind NOT IN ('pool.low', 'allocation.low', 'spend.spike', 'exhaustion.near')
  THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'kind: there is no such alert.'));
  ELSIF set_alert.kind = 'pool.low' AND _subject <> '' THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'subject: a pool has no member.'));
  ELSIF set_alert.threshold IS NOT NULL AND ledger.is_amount(set_alert.threshold) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(set_alert.threshold));
  END IF;
  PERFORM ledger.require_open_organization(set_alert.org_id);

  IF set_alert.threshold IS NULL THEN
    DELETE FROM public.alert_rules AS rule
    WHERE rule.org_id = set_alert.org_id AND rule.kind = set_alert.kind AND rule.subject = _subject;
  ELSE
    INSERT INTO public.alert_rules AS rule (org_id, kind, subject, threshold, updated_by)
    VALUES (set_alert.org_id, set_alert.kind, _subject, set_alert.threshold, set_alert.updated_by)
    ON CONFLICT (coalesce(org_id, ''), kind, subject) DO UPDATE
    SET threshold = excluded.threshold, updated_by = excluded.updated_by, updated_at = ledger.now()
    WHERE rule.threshold <> excluded.threshold;
  END IF;
  document := ledger.list_alerts(set_alert.org_id);
END;
$$;

REVOKE ALL ON FUNCTION ledger.set_alert FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.set_alert TO credits_app;
