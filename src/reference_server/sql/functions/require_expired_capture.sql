-- A hold that was given back can be captured unless the job runs again, under a new hold with the same id
-- (which is to be captured then), or the balance does not cover it any more.
CREATE OR REPLACE FUNCTION ledger.require_expired_capture(
  hold public.user_credit_holds, person public.users, credits BIGINT
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _problem JSONB;
BEGIN
  PERFORM ledger.expire_balance_holds_of(ARRAY[person.id]);
  _problem := ledger.holding_id_problem(person.id, hold.request_id);
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;
  _problem := ledger.balance_problem(ledger.lock_user(person.id), credits);
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem || ledger.problem(
      'hold_expired',
      format(
        'The hold %s has expired, and the balance does not cover it. %s', hold.id, _problem ->> 'detail'
      )
    ));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_expired_capture FROM PUBLIC;
