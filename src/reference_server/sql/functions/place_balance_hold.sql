-- Invariant: no hold sets aside what is not there, and a request id holds once at a time.
-- The user's row is updated first, which locks it: what is read about the id afterwards stays true.

-- As it was before it mattered who places it.
DROP FUNCTION IF EXISTS ledger.place_balance_hold(
  TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB, TEXT, TEXT, INTEGER
);

CREATE OR REPLACE FUNCTION ledger.place_balance_hold(
  user_id TEXT,
  credits BIGINT,
  description TEXT DEFAULT NULL,
  transaction_type TEXT DEFAULT 'service',
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}',
  service_type TEXT DEFAULT 'service',
  service_name TEXT DEFAULT NULL,
  ttl_seconds INTEGER DEFAULT 900,
  by_payer BOOLEAN DEFAULT FALSE
) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(place_balance_hold.request_id, ledger.new_request_id());
  _by_payer CONSTANT BOOLEAN := coalesce(place_balance_hold.by_payer, FALSE);
  _credits CONSTANT NUMERIC := place_balance_hold.credits / 1000.0;
  _person public.users;
  _now TIMESTAMPTZ;
  _hold public.user_credit_holds;
  _answer ledger.hold;
  _problem JSONB;
  -- Whether lots that were due have expired: what is left of those is held.
  _expired BOOLEAN := FALSE;
BEGIN
  IF ledger.is_amount(place_balance_hold.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(place_balance_hold.credits));
  ELSIF (place_balance_hold.ttl_seconds BETWEEN 1 AND 86400) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'ttl_seconds must be 1 to 86400.'));
  END IF;
  PERFORM ledger.require_spending_type(place_balance_hold.transaction_type);
  _person := ledger.find_user(place_balance_hold.user_id);

  LOOP
    UPDATE public.users AS person
    SET held_credits = person.held_credits + _credits
    WHERE person.id = _person.id
      AND person.is_active
      AND person.held_credits + _credits <= person.credits
      AND (_expired OR person.lots_due_at IS NULL OR person.lots_due_at > ledger.now());
    IF FOUND THEN
      _now := ledger.now();
      INSERT INTO public.user_credit_holds AS hold (
        user_id, credits, description, transaction_type, service_type, service_name,
        request_id, request_metadata, expires_at, created_at, updated_at, by_payer
      )
      SELECT
        _person.id, _credits, place_balance_hold.description, place_balance_hold.transaction_type,
        place_balance_hold.service_type, place_balance_hold.service_name,
        _request_id, coalesce(place_balance_hold.request_metadata, '{}'),
        _now + make_interval(secs => place_balance_hold.ttl_seconds), _now, _now, _by_payer
      WHERE NOT EXISTS (
        SELECT FROM public.credits_transactions AS charge
        WHERE charge.user_id = _person.id AND charge.request_id = _request_id
      )
      ON CONFLICT (user_id, request_id) WHERE status IN ('held', 'captured') DO NOTHING
      RETURNING hold.* INTO _hold;
      IF FOUND THEN
        RETURN ledger.balance_hold_row(_hold, _person, replayed => FALSE);
      END IF;
      -- The id holds or has charged already: what was set aside for it now is put back.
      UPDATE public.users AS person
      SET held_credits = person.held_credits - _credits
      WHERE person.id = _person.id;
    END IF;

    _person := ledger.lock_user(_person.id);
    _expired := TRUE;
    -- First the overdue holds: a job that runs again under its id gets a new hold, not the dying one.
    CONTINUE WHEN ledger.expire_balance_holds_of(ARRAY[_person.id]) > 0;
    _answer := ledger.replayed_balance_hold(
      _person, place_balance_hold.credits, place_balance_hold.transaction_type,
      place_balance_hold.service_type, place_balance_hold.service_name, _request_id, _by_payer
    );
    IF _answer.hold_id IS NOT NULL THEN
      RETURN _answer;
    END IF;
    _problem := ledger.balance_problem(_person, place_balance_hold.credits);
    -- Without a problem, somebody made room before this had the lock.
    IF _problem IS NOT NULL THEN
      PERFORM ledger.refuse(_problem);
    END IF;
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.place_balance_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.place_balance_hold TO credits_app;
