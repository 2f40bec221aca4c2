-- A user's row as it is under its lock: their transactions and holds stand still until the end of the
-- transaction, because whoever changes them has this lock. STABLE functions see what was before the lock.
-- What is over its time has expired then.
CREATE OR REPLACE FUNCTION ledger.lock_user(id BIGINT) RETURNS public.users
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _user public.users;
BEGIN
  SELECT person.* INTO _user FROM public.users AS person WHERE person.id = lock_user.id FOR NO KEY UPDATE;
  IF _user.lots_due_at <= ledger.now() THEN
    PERFORM ledger.expire_balance_lots(_user);
    SELECT person.* INTO _user FROM public.users AS person WHERE person.id = lock_user.id;
  END IF;
  RETURN _user;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_user FROM PUBLIC;
