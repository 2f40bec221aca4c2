-- Count what is taken at a moment against the caps of the organisation, the member and the key. A window
-- that is over begins anew. The caller holds the locks of the caps, and has asked `ledger.cap_problem`.
CREATE OR REPLACE FUNCTION ledger.count_against_caps(
  org_id TEXT, user_id TEXT, api_key_id TEXT, credits BIGINT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  UPDATE public.credit_caps AS cap
  SET
    used_credits = ledger.used_of_cap(
      cap.period, cap.window_start, cap.used_credits, count_against_caps.moment
    ) + count_against_caps.credits,
    window_start = greatest(cap.window_start, ledger.cap_window(cap.period, count_against_caps.moment))
  WHERE cap.org_id = count_against_caps.org_id
    AND (cap.scope, cap.subject) IN (
      ('organization', ''),
      ('member', count_against_caps.user_id),
      ('api_key', count_against_caps.api_key_id)
    )
    AND cap.period <> 'call';
END;
$$;

REVOKE ALL ON FUNCTION ledger.count_against_caps FROM PUBLIC;
