-- Give back overdue holds of users, oldest first. Users who are busy are left to the next sweep or to
-- their own next refusal, so that a sweep never waits and never deadlocks.
CREATE OR REPLACE FUNCTION ledger.expire_balance_holds("limit" INTEGER) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _user_ids BIGINT[];
BEGIN
  SELECT array_agg(locked.id) INTO _user_ids
  FROM (
    SELECT person.id
    FROM public.users AS person
    WHERE person.id IN (
      SELECT hold.user_id
      FROM public.user_credit_holds AS hold
      WHERE hold.status = 'held' AND hold.expires_at <= _now
      ORDER BY hold.expires_at
      LIMIT expire_balance_holds."limit"
    )
    ORDER BY person.id
    FOR NO KEY UPDATE SKIP LOCKED
  ) AS locked;
  RETURN ledger.expire_balance_holds_of(_user_ids, "limit" => expire_balance_holds."limit");
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_balance_holds FROM PUBLIC;
