-- A hold that was given back and is captured after all: the work was done, so it is charged if the
-- balance still covers it (expired -> captured); else the caller learns that it does not.
--
-- If the job ran again under the same request id and was charged, that charge is the answer. While the
-- job's new hold is open, that one is to be captured. The row is empty when the hold is not expired any more.
CREATE OR REPLACE FUNCTION ledger.capture_expired(
  hold public.credit_holds, credits BIGINT, request_metadata JSONB
) RETURNS ledger.receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _credits CONSTANT BIGINT := coalesce(capture_expired.credits, hold.credits);
  _account public.user_credit_allocations;
  _receipt ledger.receipt;
  _charge_id UUID;
  _problem JSONB;
  _now TIMESTAMPTZ;
BEGIN
  PERFORM ledger.lock_allocations(hold.org_id, ARRAY[hold.user_id]);
  SELECT allocation.* INTO _account
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = hold.org_id AND allocation.user_id = hold.user_id
  FOR NO KEY UPDATE;

  -- The member's holds and charges stand still from here on.
  PERFORM FROM public.credit_holds AS current
  WHERE current.id = hold.id AND current.org_id = hold.org_id AND current.status = 'expired';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  _receipt := ledger.replayed_charge(
    hold.org_id, hold.user_id, _credits, hold.service_type, hold.service_name, hold.request_id
  );
  IF _receipt.charge_id IS NOT NULL THEN
    RETURN _receipt;
  END IF;
  PERFORM ledger.require_rest(hold, capture_expired.credits);
  _now := ledger.now();
  PERFORM ledger.lock_caps(hold.org_id, ARRAY[_account.id], ARRAY[hold.api_key_id], overdue_at => _now);
  PERFORM ledger.expire_holds_of(ARRAY[_account.id], overdue_at => _now);
  _problem := ledger.held_id_problem(hold.org_id, hold.request_id);
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;
  _now := ledger.now();
  _problem := coalesce(
    ledger.spending_problem(hold.org_id, hold.user_id, _credits),
    ledger.cap_problem(hold.org_id, hold.user_id, hold.api_key_id, _credits, _now)
  );
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem || ledger.problem(
      'hold_expired',
      format(
        'The hold %s has expired, and the balance does not cover it. %s', hold.id, _problem ->> 'detail'
      )
    ));
  END IF;

  UPDATE public.user_credit_allocations AS allocation
  SET used_credits = allocation.used_credits + _credits, updated_at = _now
  WHERE allocation.org_id = _account.org_id AND allocation.id = _account.id
  RETURNING allocation.* INTO _account;
  PERFORM ledger.count_against_caps(hold.org_id, hold.user_id, hold.api_key_id, _credits, _now);
  UPDATE public.credit_holds AS current
  SET
    status = 'captured',
    captured_credits = current.captured_credits + _credits,
    updated_at = _account.updated_at
  WHERE current.id = hold.id AND current.org_id = hold.org_id;
  INSERT INTO public.credit_usage_attribution (
    org_id, user_id, allocation_id, credits_used, service_type, service_name,
    request_id, request_metadata, hold_id, remaining_after, created_at, api_key_id
  ) VALUES (
    hold.org_id, hold.user_id, _account.id, _credits, hold.service_type, hold.service_name,
    hold.request_id, hold.request_metadata || coalesce(capture_expired.request_metadata, '{}'),
    hold.id, _account.remaining_credits, _account.updated_at, hold.api_key_id
  ) RETURNING id INTO _charge_id;
  RETURN ROW(
    _charge_id, hold.org_id, hold.user_id, _credits, _account.remaining_credits,
    hold.service_type, hold.service_name, hold.request_id, _account.updated_at, FALSE
  )::ledger.receipt;
EXCEPTION
  WHEN unique_violation THEN
    -- Another member uses the id at this very moment.
    PERFORM ledger.refuse(ledger.id_taken_problem(hold.org_id, hold.request_id));
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_expired FROM PUBLIC;
