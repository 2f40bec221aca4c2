-- Why caps do not allow this much now; NULL when they do. Of several, the cap that leaves least is named.
-- `own_hold` are the credits of the hold that is being captured: they count already. `pending` is what a
-- batch takes before this, by scope. The caller holds the locks of the caps.
CREATE OR REPLACE FUNCTION ledger.cap_problem(
  org_id TEXT,
  user_id TEXT,
  api_key_id TEXT,
  credits BIGINT,
  moment TIMESTAMPTZ,
  own_hold BIGINT DEFAULT 0,
  pending JSONB DEFAULT '{}'
) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _cap RECORD;
BEGIN
  SELECT
    cap.scope, cap.subject, cap.period, cap.credits,
    CASE cap.period
      WHEN 'call' THEN cap.credits
      ELSE cap_problem.own_hold + greatest(
        cap.credits
        - ledger.used_of_cap(cap.period, cap.window_start, cap.used_credits, cap_problem.moment)
        - coalesce((cap_problem.pending ->> cap.scope)::BIGINT, 0),
        0
      )
    END AS available
  INTO _cap
  FROM public.credit_caps AS cap
  WHERE cap.org_id = cap_problem.org_id
    AND (cap.scope, cap.subject) IN (
      ('organization', ''), ('member', cap_problem.user_id), ('api_key', cap_problem.api_key_id)
    )
  ORDER BY available, cap.scope, cap.subject, cap.period COLLATE "C"
  LIMIT 1;

  IF NOT FOUND OR cap_problem.credits <= _cap.available THEN
    RETURN NULL;
  END IF;
  RETURN ledger.problem(
    'insufficient_credits',
    format(
      'Insufficient credits: %s required, %s left of the cap of %s %s for %s.',
      ledger.format_credits(cap_problem.credits), ledger.format_credits(_cap.available),
      ledger.format_credits(_cap.credits),
      CASE _cap.period WHEN 'hour' THEN 'an hour' ELSE 'a ' || _cap.period END,
      CASE _cap.scope WHEN 'member' THEN 'user ' WHEN 'api_key' THEN 'API key ' ELSE '' END
      || CASE WHEN _cap.subject <> '' THEN _cap.subject || ' in ' ELSE '' END
      || 'organisation ' || cap_problem.org_id
    ),
    jsonb_build_object(
      'limit', 'cap',
      'required', cap_problem.credits,
      'available', _cap.available,
      'resets_at', ledger.cap_resets_at(_cap.period, cap_problem.moment)
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.cap_problem FROM PUBLIC;
