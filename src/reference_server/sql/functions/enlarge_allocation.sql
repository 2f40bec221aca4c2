-- Invariant: a request id enlarges an allocation once. That the pool covers it is decided by the trigger
-- `keep_pool_solvent`, as for every change. Locks: the allocation, then the pool, under which the
-- organisation's history stands still.
CREATE OR REPLACE FUNCTION ledger.enlarge_allocation(
  org_id TEXT, user_id TEXT, credits BIGINT, reset_period TEXT, notes TEXT, allocated_by TEXT, request_id TEXT
) RETURNS ledger.allocation_change
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(enlarge_allocation.request_id, ledger.new_request_id());
  _now TIMESTAMPTZ;
  _account public.user_credit_allocations;
  _event public.org_billing_history;
BEGIN
  IF ledger.is_amount(enlarge_allocation.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(enlarge_allocation.credits));
  ELSIF enlarge_allocation.reset_period NOT IN ('daily', 'weekly', 'monthly', 'never') THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'reset_period must be daily, weekly, monthly or never.'
    ));
  END IF;
  PERFORM ledger.require_open_organization(enlarge_allocation.org_id);

  PERFORM ledger.expire_due_lots(enlarge_allocation.org_id);
  INSERT INTO public.user_credit_allocations (org_id, user_id)
  VALUES (enlarge_allocation.org_id, enlarge_allocation.user_id)
  ON CONFLICT (org_id, user_id) DO NOTHING;
  SELECT allocation.* INTO _account
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = enlarge_allocation.org_id AND allocation.user_id = enlarge_allocation.user_id
  FOR NO KEY UPDATE;
  PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = enlarge_allocation.org_id FOR NO KEY UPDATE;

  SELECT event.* INTO _event
  FROM public.org_billing_history AS event
  WHERE event.org_id = enlarge_allocation.org_id AND event.request_id = _request_id;
  IF FOUND THEN
    RETURN ledger.replayed_allocation(
      _event, enlarge_allocation.user_id, enlarge_allocation.credits, enlarge_allocation.reset_period
    );
  END IF;

  _now := ledger.now();
  UPDATE public.user_credit_allocations AS allocation
  SET
    allocated_credits = allocation.allocated_credits + enlarge_allocation.credits,
    reset_period = coalesce(enlarge_allocation.reset_period, allocation.reset_period),
    -- A period that stays the same keeps its date: an overdue reset is not skipped.
    next_reset_date = CASE
      WHEN coalesce(enlarge_allocation.reset_period, allocation.reset_period) <> allocation.reset_period
        THEN ledger.next_reset(enlarge_allocation.reset_period, _now)
      ELSE allocation.next_reset_date
    END,
    notes = coalesce(enlarge_allocation.notes, allocation.notes),
    allocated_by = coalesce(enlarge_allocation.allocated_by, allocation.allocated_by),
    updated_at = _now
  WHERE allocation.org_id = _account.org_id AND allocation.id = _account.id
  RETURNING allocation.* INTO _account;

  INSERT INTO public.org_billing_history (
    org_id, event_type, credits, request_id, event_metadata, notes, created_at
  ) VALUES (
    _account.org_id, 'credit_allocation', enlarge_allocation.credits, _request_id,
    jsonb_build_object(
      'user_id', _account.user_id,
      'allocated_by', enlarge_allocation.allocated_by,
      'allocated_credits', _account.allocated_credits,
      'remaining_credits', _account.remaining_credits,
      'reset_period', _account.reset_period,
      'asked_reset_period', enlarge_allocation.reset_period
    ),
    enlarge_allocation.notes, _now
  );
  RETURN ROW(
    _account.org_id, _account.user_id, enlarge_allocation.credits, _account.allocated_credits,
    _account.remaining_credits, _account.reset_period, _request_id, FALSE
  )::ledger.allocation_change;
END;
$$;

REVOKE ALL ON FUNCTION ledger.enlarge_allocation FROM PUBLIC;
