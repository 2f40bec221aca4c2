-- Whether a charge would be taken now: advice, decided again when it is. Overdue holds are in nobody's
-- way. Caps say yes or no, and do not lower what is available. Without an active allocation the answer is
-- no, with zeros.
CREATE OR REPLACE FUNCTION ledger.check_credits(org_id TEXT, user_id TEXT, credits BIGINT)
RETURNS ledger.credit_check
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _remaining BIGINT;
  _available BIGINT;
  _capped BOOLEAN;
BEGIN
  IF ledger.is_amount(check_credits.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(check_credits.credits));
  END IF;

  SELECT
    allocation.remaining_credits,
    allocation.remaining_credits - allocation.held_credits + coalesce(overdue.credits, 0),
    allocation.capped
  INTO _remaining, _available, _capped
  FROM public.user_credit_allocations AS allocation
  INNER JOIN public.organizations AS organization ON organization.id = allocation.org_id
  CROSS JOIN LATERAL (
    SELECT sum(hold.credits)::BIGINT AS credits
    FROM public.credit_holds AS hold
    WHERE hold.org_id = allocation.org_id
      AND hold.user_id = allocation.user_id
      AND hold.status = 'held'
      AND hold.expires_at <= _now
  ) AS overdue
  WHERE allocation.org_id = check_credits.org_id
    AND allocation.user_id = check_credits.user_id
    AND allocation.is_active
    AND organization.status = 'active';

  IF NOT FOUND THEN
    PERFORM ledger.require_standing(check_credits.org_id, check_credits.user_id);
    RETURN ROW(FALSE, 0, 0, check_credits.credits)::ledger.credit_check;
  END IF;
  RETURN ROW(
    (
      check_credits.credits <= _available
      OR check_credits.credits <= _available + ledger.overage(check_credits.org_id)
    )
    AND (
      NOT _capped
      OR ledger.caps_allow(check_credits.org_id, check_credits.user_id, check_credits.credits, _now)
    ),
    _remaining, _available, check_credits.credits
  )::ledger.credit_check;
END;
$$;

REVOKE ALL ON FUNCTION ledger.check_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.check_credits TO credits_app;
