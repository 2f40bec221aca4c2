-- Give back the overdue holds of some users, whose rows the caller has locked: every change of a hold's
-- state happens under that lock, so what is read here stays true until it is written.
-- `except_hold` is the hold that is being captured: it keeps its credits until it is given back.
CREATE OR REPLACE FUNCTION ledger.expire_balance_holds_of(
  user_ids BIGINT[], except_hold UUID DEFAULT NULL, "limit" INTEGER DEFAULT NULL
) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _expired INTEGER;
BEGIN
  WITH overdue AS (
    SELECT hold.id
    FROM public.user_credit_holds AS hold
    WHERE hold.status = 'held'
      AND hold.expires_at <= _now
      AND hold.user_id = ANY(expire_balance_holds_of.user_ids)
      AND hold.id IS DISTINCT FROM expire_balance_holds_of.except_hold
    ORDER BY hold.expires_at
    LIMIT expire_balance_holds_of."limit"
  ), expired AS (
    UPDATE public.user_credit_holds AS hold
    SET status = 'expired', ended_lots = NULL, updated_at = _now
    FROM overdue
    WHERE hold.id = overdue.id
    RETURNING hold.user_id, hold.credits
  ), given_back AS (
    UPDATE public.users AS person
    SET held_credits = person.held_credits - total.credits
    FROM (SELECT user_id, sum(credits) AS credits FROM expired GROUP BY user_id) AS total
    WHERE person.id = total.user_id
  )
  SELECT count(*) INTO _expired FROM expired;
  RETURN _expired;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_balance_holds_of FROM PUBLIC;
