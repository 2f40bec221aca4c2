-- Set a cap, or remove it when no credits are named. One that is as it should be stays untouched.
--
-- Invariant: a cap counts what was spent and is held in its present window, from its first moment on. So
-- nothing is spent in the organisation meanwhile: its row keeps new allocations away, then those that there
-- are get locked, in id order. No function waits for this lock of the organisation's row while it holds
-- allocations; the histories' foreign keys pass it.
CREATE OR REPLACE FUNCTION ledger.set_cap(
  org_id TEXT,
  scope TEXT,
  subject TEXT,
  period TEXT,
  credits BIGINT DEFAULT NULL,
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
  _problem CONSTANT JSONB := ledger.cap_terms_problem(
    set_cap.scope, set_cap.subject, set_cap.period, set_cap.credits
  );
  _subject CONSTANT TEXT := coalesce(set_cap.subject, '');
  _now TIMESTAMPTZ;
BEGIN
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;
  PERFORM ledger.require_open_organization(set_cap.org_id);
  PERFORM FROM public.organizations AS organization WHERE organization.id = set_cap.org_id FOR NO KEY UPDATE;
  PERFORM FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = set_cap.org_id
  ORDER BY allocation.id
  FOR NO KEY UPDATE;
  _now := ledger.now();

  IF set_cap.credits IS NULL THEN
    DELETE FROM public.credit_caps AS cap
    WHERE cap.org_id = set_cap.org_id
      AND cap.scope = set_cap.scope
      AND cap.subject = _subject
      AND cap.period = set_cap.period;
  ELSE
    INSERT INTO public.credit_caps AS cap (
      org_id, scope, subject, period, credits, used_credits, window_start, updated_by, created_at, updated_at
    )
    SELECT
      set_cap.org_id, set_cap.scope, _subject, set_cap.period, set_cap.credits,
      (
        SELECT coalesce(sum(spending.credits), 0)
        FROM ledger.spending_since(set_cap.org_id, ledger.cap_window(set_cap.period, _now)) AS spending
        WHERE CASE set_cap.scope
          WHEN 'member' THEN spending.user_id = _subject
          WHEN 'api_key' THEN spending.api_key_id = _subject
          ELSE TRUE
        END
      ),
      ledger.cap_window(set_cap.period, _now), set_cap.updated_by, _now, _now
    ON CONFLICT (org_id, scope, subject, period) DO UPDATE
    SET credits = excluded.credits, updated_by = excluded.updated_by, updated_at = excluded.updated_at
    WHERE cap.credits <> excluded.credits;
  END IF;

  UPDATE public.user_credit_allocations AS allocation
  SET capped = NOT allocation.capped
  WHERE allocation.org_id = set_cap.org_id
    AND allocation.capped <> EXISTS (SELECT FROM public.credit_caps AS cap WHERE cap.org_id = set_cap.org_id);
  document := ledger.list_caps(set_cap.org_id);
END;
$$;

REVOKE ALL ON FUNCTION ledger.set_cap FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.set_cap TO credits_app;
