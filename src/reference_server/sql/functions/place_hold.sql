-- Invariant: no hold makes used + held exceed allocated (plus overage), and a request id holds once at a
-- time. Shaped like `ledger.deduct`: one statement when nothing is unusual.

-- As it was before there were caps, and before it mattered who places it; and the public name of it, which
-- is made anew.
DROP FUNCTION IF EXISTS ledger.place_hold(
  TEXT, TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB, INTEGER
) CASCADE;
DROP FUNCTION IF EXISTS ledger.place_hold(
  TEXT, TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB, INTEGER, TEXT
) CASCADE;

CREATE OR REPLACE FUNCTION ledger.place_hold(
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}',
  ttl_seconds INTEGER DEFAULT 900,
  api_key_id TEXT DEFAULT NULL,
  by_payer BOOLEAN DEFAULT FALSE
) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(place_hold.request_id, ledger.new_request_id());
  _by_payer CONSTANT BOOLEAN := coalesce(place_hold.by_payer, FALSE);
  _hold ledger.hold;
  _account_id UUID;
  _hold_id UUID;
  _created_at TIMESTAMPTZ;
  _expires_at TIMESTAMPTZ;
  _problem JSONB;
  -- Whether the allocation is under caps, which are locked then.
  _capped BOOLEAN := FALSE;
  -- Whether lots that were due have expired: what is left of those is held.
  _expired BOOLEAN := FALSE;
BEGIN
  IF ledger.is_amount(place_hold.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(place_hold.credits));
  ELSIF (place_hold.ttl_seconds BETWEEN 1 AND 86400) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'ttl_seconds must be 1 to 86400.'));
  END IF;

  -- Going round again means that another transaction committed something in between.
  FOR _attempt IN 1..20 LOOP
    WITH account AS (
      UPDATE public.user_credit_allocations AS allocation
      SET held_credits = allocation.held_credits + place_hold.credits, updated_at = ledger.now()
      FROM public.organizations AS organization
      WHERE allocation.org_id = place_hold.org_id
        AND allocation.user_id = place_hold.user_id
        AND allocation.is_active
        AND (_capped OR NOT allocation.capped)
        AND organization.id = allocation.org_id
        AND organization.status = 'active'
        AND (
          _expired OR organization.lots_due_at IS NULL OR organization.lots_due_at > ledger.now()
        )
        AND (
          allocation.used_credits + allocation.held_credits + place_hold.credits
          <= allocation.allocated_credits
          OR allocation.used_credits + allocation.held_credits + place_hold.credits
          <= allocation.allocated_credits + ledger.overage(place_hold.org_id)
        )
        AND NOT EXISTS (
          SELECT FROM public.credit_usage_attribution AS charge
          WHERE charge.org_id = place_hold.org_id AND charge.request_id = _request_id
        )
      RETURNING allocation.id, allocation.updated_at
    ), hold AS (
      INSERT INTO public.credit_holds (
        org_id, user_id, credits, service_type, service_name,
        request_id, request_metadata, expires_at, created_at, updated_at, api_key_id, by_payer
      )
      SELECT
        place_hold.org_id, place_hold.user_id, place_hold.credits,
        place_hold.service_type, place_hold.service_name,
        _request_id, coalesce(place_hold.request_metadata, '{}'),
        account.updated_at + make_interval(secs => place_hold.ttl_seconds),
        account.updated_at, account.updated_at, place_hold.api_key_id, _by_payer
      FROM account
      ON CONFLICT (org_id, request_id) WHERE status IN ('held', 'captured') DO NOTHING
      RETURNING id, created_at, expires_at
    )
    SELECT account.id, hold.id, hold.created_at, hold.expires_at
    INTO _account_id, _hold_id, _created_at, _expires_at
    FROM account
    LEFT JOIN hold ON TRUE;

    IF _hold_id IS NOT NULL THEN
      IF _capped THEN
        PERFORM ledger.spend_caps(
          place_hold.org_id, place_hold.user_id, place_hold.api_key_id, place_hold.credits, _created_at
        );
      END IF;
      RETURN ROW(
        _hold_id, place_hold.org_id, place_hold.user_id, place_hold.credits, 0, 'held',
        place_hold.service_type, place_hold.service_name, _request_id, _expires_at, _created_at, FALSE,
        _by_payer
      )::ledger.hold;
    ELSIF _account_id IS NOT NULL THEN
      -- The id holds already: what was set aside for it now is put back.
      UPDATE public.user_credit_allocations AS allocation
      SET held_credits = allocation.held_credits - place_hold.credits
      WHERE allocation.org_id = place_hold.org_id AND allocation.id = _account_id;
    END IF;

    PERFORM ledger.require_standing(place_hold.org_id, place_hold.user_id);
    IF NOT _expired THEN
      _expired := ledger.expire_due_lots(place_hold.org_id);
      CONTINUE WHEN _expired;
    END IF;
    -- First the overdue holds: a job that runs again under its id gets a new hold, not the dying one.
    IF NOT _capped THEN
      _capped := ledger.lock_capped(place_hold.org_id, place_hold.user_id, place_hold.api_key_id);
      CONTINUE WHEN _capped OR ledger.expire_overdue(place_hold.org_id, place_hold.user_id);
    END IF;

    _hold := ledger.replayed_hold(
      place_hold.org_id, place_hold.user_id, place_hold.credits,
      place_hold.service_type, place_hold.service_name, _request_id, _by_payer
    );
    IF _hold.hold_id IS NOT NULL THEN
      RETURN _hold;
    END IF;
    _problem := ledger.spending_problem(place_hold.org_id, place_hold.user_id, place_hold.credits);
    IF _problem IS NOT NULL THEN
      PERFORM ledger.refuse(_problem);
    END IF;
  END LOOP;
  RAISE serialization_failure USING MESSAGE = 'Others changed this allocation too often; try again.';
END;
$$;

REVOKE ALL ON FUNCTION ledger.place_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.place_hold TO credits_app;
