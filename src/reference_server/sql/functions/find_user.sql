-- Whose account a `user_id` stands for: a number of at most 18 digits is `users.id`, anything else the
-- subject at the identity provider. No subject is another user's id, which a CHECK sees to.
CREATE OR REPLACE FUNCTION ledger.find_user(user_id TEXT) RETURNS public.users
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _user public.users;
BEGIN
  IF find_user.user_id ~ '^[0-9]{1,18}$' THEN
    SELECT person.* INTO _user FROM public.users AS person WHERE person.id = find_user.user_id::BIGINT;
  ELSE
    SELECT person.* INTO _user FROM public.users AS person WHERE person.subject = find_user.user_id;
  END IF;
  IF _user.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem('not_found', format(
      'There is no user %s.', coalesce(find_user.user_id, 'without a user_id')
    )));
  END IF;
  RETURN _user;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_user FROM PUBLIC;
