-- Refuse parts that a hold cannot be charged: it is not open, its time is over, it has not as much left, or
-- credits are held under one of their request ids. The caller has locked the hold's allocation.
CREATE OR REPLACE FUNCTION ledger.require_parts(
  hold public.credit_holds, credits BIGINT, holding_id TEXT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF hold.status = 'expired' OR (hold.status = 'held' AND moment >= hold.expires_at) THEN
    PERFORM ledger.refuse(ledger.problem('hold_expired', format('The hold %s has expired.', hold.id)));
  ELSIF hold.status <> 'held' THEN
    PERFORM ledger.refuse(ledger.problem('hold_closed', format('The hold %s was %s.', hold.id, hold.status)));
  ELSIF holding_id IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.held_id_problem(hold.org_id, holding_id));
  ELSIF credits > hold.credits THEN
    PERFORM ledger.refuse(ledger.problem(
      'insufficient_credits',
      format(
        'Insufficient credits: %s required, %s left in the hold %s.',
        ledger.format_credits(credits), ledger.format_credits(hold.credits), hold.id
      ),
      jsonb_build_object('limit', 'hold', 'required', credits, 'available', hold.credits)
    ));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_parts FROM PUBLIC;
