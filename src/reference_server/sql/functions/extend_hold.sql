-- Invariant: an open hold is given more exactly once for each request id, and no extension makes used + held
-- exceed allocated (plus overage), nor what counts against a cap exceed the cap.
--
-- The time runs from now, and is never shortened. A hold past its time that nobody has given back is open.
-- Given more credits, the whole hold counts against caps from now on, in the windows of this moment: so what
-- is given back of it later has one window, too. More time alone changes nothing there.
CREATE OR REPLACE FUNCTION ledger.extend_hold(
  hold_id UUID,
  org_id TEXT DEFAULT NULL,
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
  _request_id CONSTANT TEXT := coalesce(extend_hold.request_id, ledger.new_request_id());
  _credits CONSTANT BIGINT := coalesce(extend_hold.credits, 0);
  _hold public.credit_holds := ledger.find_hold(extend_hold.hold_id, extend_hold.org_id);
  _earlier public.credit_hold_extensions;
  _account_id UUID;
  _now TIMESTAMPTZ;
  _problem JSONB;
BEGIN
  IF _credits > 0 THEN
    PERFORM ledger.lock_allocations(_hold.org_id, ARRAY[_hold.user_id]);
  END IF;
  SELECT allocation.id INTO _account_id
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = _hold.org_id AND allocation.user_id = _hold.user_id
  FOR NO KEY UPDATE;
  -- The member's holds and charges stand still from here on.
  _hold := ledger.find_hold(_hold.id, _hold.org_id);

  SELECT extension.* INTO _earlier
  FROM public.credit_hold_extensions AS extension
  WHERE extension.org_id = _hold.org_id AND extension.request_id = _request_id;
  IF NOT FOUND THEN
    _problem := ledger.extension_problem(
      _hold.id, _hold.status, extend_hold.credits, extend_hold.ttl_seconds
    );
  ELSIF
    (_earlier.hold_id, _earlier.credits, _earlier.ttl_seconds)
    IS NOT DISTINCT FROM (_hold.id, _credits, extend_hold.ttl_seconds)
  THEN
    RETURN ledger.hold_row(_hold, replayed => TRUE);
  ELSE
    _problem := ledger.id_taken_problem(_hold.org_id, _request_id);
  END IF;
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;

  _now := ledger.now();
  IF _credits > 0 THEN
    PERFORM ledger.enlarge_hold(_hold, _account_id, _credits, _now);
  END IF;
  UPDATE public.credit_holds AS hold
  SET
    placed_credits = CASE
      WHEN _credits > 0 THEN coalesce(hold.placed_credits, hold.credits)
      ELSE hold.placed_credits
    END,
    credits = hold.credits + _credits,
    counted_at = CASE WHEN _credits > 0 THEN _now ELSE hold.counted_at END,
    expires_at = greatest(hold.expires_at, _now + make_interval(secs => extend_hold.ttl_seconds)),
    updated_at = _now
  WHERE hold.id = _hold.id AND hold.org_id = _hold.org_id
  RETURNING hold.* INTO _hold;
  INSERT INTO public.credit_hold_extensions (org_id, request_id, hold_id, credits, ttl_seconds, created_at)
  VALUES (_hold.org_id, _request_id, _hold.id, _credits, extend_hold.ttl_seconds, _now);
  RETURN ledger.hold_row(_hold, replayed => FALSE);
EXCEPTION
  WHEN unique_violation THEN
    -- Another hold of the organisation is extended under the id at this very moment.
    PERFORM ledger.refuse(ledger.id_taken_problem(_hold.org_id, _request_id));
END;
$$;

REVOKE ALL ON FUNCTION ledger.extend_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.extend_hold TO credits_app;
