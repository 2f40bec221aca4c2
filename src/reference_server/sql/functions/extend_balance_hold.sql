-- Invariant: an open hold is given more exactly once for each request id, and never what is not there.
-- The time runs from now, and is never shortened. A hold past its time that nobody has given back is open.
-- The user's row is locked first.
CREATE OR REPLACE FUNCTION ledger.extend_balance_hold(
  hold_id UUID,
  user_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  ttl_seconds INTEGER DEFAULT NULL,
  request_id TEXT DEFAULT NULL
) RETURNS ledger.hold
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(extend_balance_hold.request_id, ledger.new_request_id());
  _credits CONSTANT BIGINT := coalesce(extend_balance_hold.credits, 0);
  _hold public.user_credit_holds;
  _person public.users;
  _earlier public.user_credit_hold_extensions;
  _now TIMESTAMPTZ;
  _problem JSONB;
BEGIN
  _hold := ledger.find_balance_hold(extend_balance_hold.hold_id, extend_balance_hold.user_id);
  _person := ledger.lock_user(_hold.user_id);
  -- The user's holds and charges stand still from here on.
  _hold := ledger.find_balance_hold(_hold.id, NULL);

  SELECT extension.* INTO _earlier
  FROM public.user_credit_hold_extensions AS extension
  WHERE extension.user_id = _person.id AND extension.request_id = _request_id;
  IF NOT FOUND THEN
    _problem := ledger.extension_problem(
      _hold.id, _hold.status, extend_balance_hold.credits, extend_balance_hold.ttl_seconds
    );
  ELSIF
    (_earlier.hold_id, _earlier.credits * 1000, _earlier.ttl_seconds)
    IS NOT DISTINCT FROM (_hold.id, _credits::NUMERIC, extend_balance_hold.ttl_seconds)
  THEN
    RETURN ledger.balance_hold_row(_hold, _person, replayed => TRUE);
  ELSE
    _problem := ledger.used_id_problem(_person, _request_id);
  END IF;
  IF _problem IS NULL AND ledger.balance_problem(_person, _credits) IS NOT NULL THEN
    PERFORM ledger.expire_balance_holds_of(ARRAY[_person.id], except_hold => _hold.id);
    _person := ledger.lock_user(_person.id);
    _problem := ledger.balance_problem(_person, _credits);
  END IF;
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;

  UPDATE public.users AS person
  SET held_credits = person.held_credits + _credits / 1000.0
  WHERE person.id = _person.id AND _credits > 0;
  _now := ledger.now();
  UPDATE public.user_credit_holds AS hold
  SET
    placed_credits = CASE
      WHEN _credits > 0 THEN coalesce(hold.placed_credits, hold.credits)
      ELSE hold.placed_credits
    END,
    credits = hold.credits + _credits / 1000.0,
    expires_at = greatest(
      hold.expires_at, _now + make_interval(secs => extend_balance_hold.ttl_seconds)
    ),
    updated_at = _now
  WHERE hold.id = _hold.id
  RETURNING hold.* INTO _hold;
  INSERT INTO public.user_credit_hold_extensions (user_id, request_id, hold_id, credits, ttl_seconds, created_at)
  VALUES (
    _person.id, _request_id, _hold.id, _credits / 1000.0, extend_balance_hold.ttl_seconds, _now
  );
  RETURN ledger.balance_hold_row(_hold, _person, replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.extend_balance_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.extend_balance_hold TO credits_app;
