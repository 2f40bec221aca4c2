-- Whether the caps of a member and of the organisation leave this much at a moment, overdue holds of the
-- member's given back: advice, decided again when it is taken, with the caps of the key that is used then.
CREATE OR REPLACE FUNCTION ledger.caps_allow(org_id TEXT, user_id TEXT, credits BIGINT, moment TIMESTAMPTZ)
RETURNS BOOLEAN
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN NOT EXISTS (
    SELECT
    FROM public.credit_caps AS cap
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(hold.credits), 0)::BIGINT AS credits
      FROM public.credit_holds AS hold
      WHERE hold.org_id = caps_allow.org_id
        AND hold.user_id = caps_allow.user_id
        AND hold.status = 'held'
        AND hold.expires_at <= caps_allow.moment
        AND ledger.cap_window(cap.period, hold.created_at) = cap.window_start
    ) AS overdue
    WHERE cap.org_id = caps_allow.org_id
      AND (cap.scope, cap.subject) IN (('organization', ''), ('member', caps_allow.user_id))
      AND cap.credits < caps_allow.credits + ledger.used_of_cap(
        cap.period, cap.window_start, cap.used_credits - overdue.credits, caps_allow.moment
      )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.caps_allow FROM PUBLIC;
