-- Set more credits aside for an open hold, whose allocation the caller has locked: decided with the balance
-- and the caps, like a new hold, or refused. The member's overdue holds are given back where they stand in
-- the way, and wherever there are caps. The caller writes the hold.
CREATE OR REPLACE FUNCTION ledger.enlarge_hold(
  hold public.credit_holds, allocation_id UUID, credits BIGINT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _problem JSONB := ledger.spending_problem(hold.org_id, hold.user_id, credits);
BEGIN
  PERFORM ledger.lock_caps(
    hold.org_id, ARRAY[allocation_id], ARRAY[hold.api_key_id], overdue_at => moment
  );
  IF _problem IS NOT NULL OR EXISTS (SELECT FROM public.credit_caps AS cap WHERE cap.org_id = hold.org_id) THEN
    PERFORM ledger.expire_holds_of(ARRAY[allocation_id], except_hold => hold.id, overdue_at => moment);
    _problem := ledger.spending_problem(hold.org_id, hold.user_id, credits);
  END IF;
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;
  PERFORM ledger.give_back_to_caps(hold, hold.credits);
  PERFORM ledger.spend_caps(hold.org_id, hold.user_id, hold.api_key_id, hold.credits + credits, moment);

  UPDATE public.user_credit_allocations AS allocation
  SET held_credits = allocation.held_credits + credits, updated_at = moment
  WHERE allocation.org_id = hold.org_id AND allocation.id = allocation_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.enlarge_hold FROM PUBLIC;
