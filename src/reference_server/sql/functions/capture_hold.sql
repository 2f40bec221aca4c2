-- Invariant: an open hold becomes exactly one charge, or none: held credits turn into used ones, the hold
-- into a captured one and an attribution row is written, together.
--
-- One statement when the hold is open; the allocation is locked before the hold, as everywhere. Captured
-- for less, the rest is given back; for more, what is beyond the hold must fit the balance, else the hold
-- stays open. A hold past its time that nobody has given back yet still owns its credits: it is open.
-- A suspended organisation's open holds can be captured: the credits were set aside before.
--
-- Caps have counted the hold, so that they are locked only for a capture that counts otherwise: for more, for
-- less, or late. What is nearly late takes the locks too, and is told by the time that is written.
CREATE OR REPLACE FUNCTION ledger.capture_hold(
  hold_id UUID,
  org_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}'
) RETURNS ledger.receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.credit_holds;
  _receipt ledger.receipt;
  _account RECORD;
  _problem JSONB;
  -- Whether the allocation is under caps, which are locked then.
  _capped BOOLEAN := FALSE;
  -- Whether lots that were due have expired: what is left of those is held.
  _expired BOOLEAN := FALSE;
BEGIN
  IF capture_hold.credits IS NOT NULL AND NOT ledger.is_amount(capture_hold.credits) THEN
    PERFORM ledger.refuse(ledger.amount_problem(capture_hold.credits));
  END IF;

  -- Going round again means that another transaction committed something in between.
  FOR _attempt IN 1..20 LOOP
    WITH account AS (
      UPDATE public.user_credit_allocations AS allocation
      SET
        held_credits = allocation.held_credits - hold.credits,
        used_credits = allocation.used_credits + coalesce(capture_hold.credits, hold.credits),
        updated_at = ledger.now()
      FROM public.credit_holds AS hold
      WHERE hold.id = capture_hold.hold_id
        AND (capture_hold.org_id IS NULL OR hold.org_id = capture_hold.org_id)
        AND hold.status = 'held'
        AND coalesce(capture_hold.credits, hold.credits) > 0
        AND allocation.org_id = hold.org_id
        AND allocation.user_id = hold.user_id
        -- Not so when somebody closed the hold while this waited for the allocation.
        AND allocation.held_credits >= hold.credits
        AND (
          _capped
          OR NOT allocation.capped
          OR (
            coalesce(capture_hold.credits, hold.credits) = hold.credits
            AND hold.expires_at > ledger.now() + INTERVAL '1 second'
          )
        )
        AND (
          coalesce(capture_hold.credits, hold.credits) <= hold.credits
          OR (
            allocation.is_active
            AND EXISTS (
              SELECT FROM public.organizations AS organization
              WHERE organization.id = hold.org_id
                AND organization.status = 'active'
                AND (
                  _expired OR organization.lots_due_at IS NULL OR organization.lots_due_at > ledger.now()
                )
            )
            AND allocation.used_credits + allocation.held_credits - hold.credits + capture_hold.credits
            <= allocation.allocated_credits + ledger.overage(hold.org_id)
          )
        )
      RETURNING
        allocation.id, allocation.remaining_credits, allocation.updated_at,
        hold.id AS hold_id, hold.org_id, hold.user_id, hold.service_type, hold.service_name, hold.request_id,
        hold.credits AS held, hold.api_key_id,
        coalesce(capture_hold.credits, hold.credits) AS captured,
        hold.request_metadata || coalesce(capture_hold.request_metadata, '{}') AS request_metadata
    ), closed AS (
      UPDATE public.credit_holds AS hold
      SET
        status = 'captured',
        captured_credits = hold.captured_credits + account.captured,
        updated_at = account.updated_at
      FROM account
      WHERE hold.id = account.hold_id AND hold.org_id = account.org_id AND hold.status = 'held'
      RETURNING hold.id
    ), charge AS (
      INSERT INTO public.credit_usage_attribution (
        org_id, user_id, allocation_id, credits_used, service_type, service_name,
        request_id, request_metadata, hold_id, remaining_after, created_at, api_key_id
      )
      SELECT
        account.org_id, account.user_id, account.id, account.captured,
        account.service_type, account.service_name, account.request_id, account.request_metadata,
        account.hold_id, account.remaining_credits, account.updated_at, account.api_key_id
      FROM account
      INNER JOIN closed ON closed.id = account.hold_id
      ON CONFLICT (org_id, request_id) DO NOTHING
      RETURNING id
    )
    SELECT account.*, closed.id AS closed_id, charge.id AS charge_id
    INTO _account
    FROM account
    LEFT JOIN closed ON TRUE
    LEFT JOIN charge ON TRUE;

    IF _account.charge_id IS NOT NULL THEN
      IF _capped THEN
        PERFORM ledger.spend_caps_of_capture(_hold, _account.captured, _account.updated_at);
      END IF;
      RETURN ROW(
        _account.charge_id, _account.org_id, _account.user_id, _account.captured, _account.remaining_credits,
        _account.service_type, _account.service_name, _account.request_id, _account.updated_at, FALSE
      )::ledger.receipt;
    ELSIF _account.closed_id IS NOT NULL THEN
      -- A deduct has charged the id; the refusal undoes all of the above.
      PERFORM ledger.refuse(ledger.id_taken_problem(_account.org_id, _account.request_id));
    ELSIF _account.id IS NOT NULL THEN
      -- It was closed, and another hold of the member's covered for it: what was moved is moved back.
      UPDATE public.user_credit_allocations AS allocation
      SET
        held_credits = allocation.held_credits + _account.held,
        used_credits = allocation.used_credits - _account.captured
      WHERE allocation.org_id = _account.org_id AND allocation.id = _account.id;
    END IF;

    _hold := ledger.find_hold(capture_hold.hold_id, capture_hold.org_id);
    CASE _hold.status
      WHEN 'captured' THEN
        RETURN ledger.replayed_capture(_hold, capture_hold.credits);
      WHEN 'voided' THEN
        PERFORM ledger.refuse(ledger.problem('hold_closed', format('The hold %s was voided.', _hold.id)));
      WHEN 'expired' THEN
        _receipt := ledger.capture_expired(_hold, capture_hold.credits, capture_hold.request_metadata);
        IF _receipt.charge_id IS NOT NULL THEN
          RETURN _receipt;
        END IF;
      ELSE
        PERFORM ledger.require_rest(_hold, capture_hold.credits);
        IF NOT _expired AND coalesce(capture_hold.credits > _hold.credits, FALSE) THEN
          _expired := ledger.expire_due_lots(_hold.org_id);
          CONTINUE WHEN _expired;
        END IF;
        -- It is open, so there are caps, or the balance lacks what is beyond the hold.
        IF NOT _capped THEN
          _capped := ledger.lock_capped(
            _hold.org_id, _hold.user_id, _hold.api_key_id, _hold.id,
            give_back => coalesce(capture_hold.credits > _hold.credits, FALSE) OR _hold.expires_at <= ledger.now()
          );
          CONTINUE WHEN _capped OR ledger.expire_overdue(_hold.org_id, _hold.user_id, _hold.id);
        END IF;
        _problem := ledger.spending_problem(
          _hold.org_id, _hold.user_id, coalesce(capture_hold.credits, _hold.credits), _hold.credits
        );
        IF _problem IS NOT NULL THEN
          PERFORM ledger.refuse(_problem);
        END IF;
    END CASE;
  END LOOP;
  RAISE serialization_failure USING MESSAGE = 'Others changed this allocation too often; try again.';
END;
$$;

REVOKE ALL ON FUNCTION ledger.capture_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.capture_hold TO credits_app;
