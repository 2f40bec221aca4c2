-- Invariant: no charge makes used + held exceed allocated (plus overage), and a request id charges once.
--
-- The usual charge is two statements: the allocation is taken from if that fits, which locks it, and the
-- attribution is written from what the update returned: its time and its remaining credits are those
-- of the moment at which the lock was held. (As one, with the update in a CTE, they take longer.) A
-- charge writes no row that others of the organisation share, unless there are caps: then it takes their
-- locks, gives back overdue holds, and goes round once more.
--
-- Everything else leaves them without a charge, and is then told apart: an id that charged
-- before (replay or conflict), overdue holds that stood in the way (given back; tried again), a refusal.

-- As it was before there were caps.
DROP FUNCTION IF EXISTS ledger.deduct(TEXT, TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB);

CREATE OR REPLACE FUNCTION ledger.deduct(
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}',
  api_key_id TEXT DEFAULT NULL
) RETURNS ledger.receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(deduct.request_id, ledger.new_request_id());
  _receipt ledger.receipt;
  _account_id UUID;
  _charge_id UUID;
  _remaining BIGINT;
  _created_at TIMESTAMPTZ;
  _problem JSONB;
  -- Whether the allocation is under caps, which are locked then.
  _capped BOOLEAN := FALSE;
  -- Whether lots that were due have expired: what is left of those is held.
  _expired BOOLEAN := FALSE;
BEGIN
  IF ledger.is_amount(deduct.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(deduct.credits));
  END IF;

  -- Going round again means that another transaction committed something in between.
  FOR _attempt IN 1..20 LOOP
    _charge_id := NULL;
    UPDATE public.user_credit_allocations AS allocation
    SET used_credits = allocation.used_credits + deduct.credits, updated_at = ledger.now()
    WHERE allocation.org_id = deduct.org_id
      AND allocation.user_id = deduct.user_id
      AND allocation.is_active
      AND (_capped OR NOT allocation.capped)
      AND (
        allocation.used_credits + allocation.held_credits + deduct.credits <= allocation.allocated_credits
        OR allocation.used_credits + allocation.held_credits + deduct.credits
        <= allocation.allocated_credits + ledger.overage(deduct.org_id)
      )
      -- Of the allocation's row, so that it is asked again after a wait for that: a lot may have ended.
      AND EXISTS (
        SELECT FROM public.organizations AS organization
        WHERE organization.id = deduct.org_id
          AND organization.id = allocation.org_id
          AND organization.status = 'active'
          AND (_expired OR organization.lots_due_at IS NULL OR organization.lots_due_at > ledger.now())
      )
      AND NOT EXISTS (
        SELECT FROM public.credit_holds AS hold
        WHERE hold.org_id = deduct.org_id AND hold.request_id = _request_id AND hold.status = 'held'
      )
    RETURNING allocation.id, allocation.remaining_credits, allocation.updated_at
    INTO _account_id, _remaining, _created_at;

    IF FOUND THEN
      INSERT INTO public.credit_usage_attribution (
        org_id, user_id, allocation_id, credits_used, service_type, service_name,
        request_id, request_metadata, remaining_after, created_at, api_key_id
      ) VALUES (
        deduct.org_id, deduct.user_id, _account_id, deduct.credits, deduct.service_type, deduct.service_name,
        _request_id, coalesce(deduct.request_metadata, '{}'), _remaining, _created_at, deduct.api_key_id
      )
      ON CONFLICT (org_id, request_id) DO NOTHING
      RETURNING id INTO _charge_id;
    END IF;

    IF _charge_id IS NOT NULL THEN
      IF _capped THEN
        PERFORM ledger.spend_caps(
          deduct.org_id, deduct.user_id, deduct.api_key_id, deduct.credits, _created_at
        );
      END IF;
      RETURN ROW(
        _charge_id, deduct.org_id, deduct.user_id, deduct.credits, _remaining,
        deduct.service_type, deduct.service_name, _request_id, _created_at, FALSE
      )::ledger.receipt;
    ELSIF _account_id IS NOT NULL THEN
      -- The id had charged before: what was taken for it now is put back.
      UPDATE public.user_credit_allocations AS allocation
      SET used_credits = allocation.used_credits - deduct.credits
      WHERE allocation.org_id = deduct.org_id AND allocation.id = _account_id;
    END IF;

    PERFORM ledger.require_standing(deduct.org_id, deduct.user_id);
    _receipt := ledger.replayed_charge(
      deduct.org_id, deduct.user_id, deduct.credits, deduct.service_type, deduct.service_name, _request_id
    );
    IF _receipt.charge_id IS NOT NULL THEN
      RETURN _receipt;
    END IF;
    IF NOT _expired THEN
      _expired := ledger.expire_due_lots(deduct.org_id);
      CONTINUE WHEN _expired;
    END IF;
    IF NOT _capped THEN
      _capped := ledger.lock_capped(deduct.org_id, deduct.user_id, deduct.api_key_id);
      CONTINUE WHEN _capped OR ledger.expire_overdue(deduct.org_id, deduct.user_id);
    END IF;

    _problem := coalesce(
      ledger.held_id_problem(deduct.org_id, _request_id),
      ledger.spending_problem(deduct.org_id, deduct.user_id, deduct.credits)
    );
    IF _problem IS NOT NULL THEN
      PERFORM ledger.refuse(_problem);
    END IF;
  END LOOP;
  RAISE serialization_failure USING MESSAGE = 'Others changed this allocation too often; try again.';
END;
$$;

REVOKE ALL ON FUNCTION ledger.deduct FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.deduct TO credits_app;
