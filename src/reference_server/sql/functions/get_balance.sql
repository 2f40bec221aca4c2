-- A user's balance. What overdue holds still hold counts as available. Nobody is not a user.
CREATE OR REPLACE FUNCTION ledger.get_balance(user_id TEXT DEFAULT NULL) RETURNS ledger.balance
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _person CONSTANT public.users := ledger.find_user(get_balance.user_id);
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _overdue NUMERIC;
  _next RECORD;
BEGIN
  SELECT coalesce(sum(hold.credits), 0) INTO _overdue
  FROM public.user_credit_holds AS hold
  WHERE hold.user_id = _person.id AND hold.status = 'held' AND hold.expires_at <= _now;
  SELECT sum(lot.rest)::BIGINT AS rest, lot.expires_at INTO _next
  FROM ledger.lots_of_balance(_person) AS lot
  WHERE lot.rest > 0 AND lot.expires_at IS NOT NULL
  GROUP BY lot.expires_at
  ORDER BY lot.expires_at
  LIMIT 1;
  RETURN ROW(
    ledger.user_name(_person),
    (_person.credits * 1000)::BIGINT,
    (_person.held_credits * 1000)::BIGINT,
    ((_person.credits - _person.held_credits + _overdue) * 1000)::BIGINT,
    _person.is_active,
    coalesce(_next.rest, 0),
    _next.expires_at
  )::ledger.balance;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_balance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_balance TO credits_app;
