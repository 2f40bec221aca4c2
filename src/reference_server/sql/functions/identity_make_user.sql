-- A new user of the identity provider, made in the user's own name, or the one that another request has just
-- made.
CREATE OR REPLACE FUNCTION identity.make_user(subject TEXT, email TEXT, name TEXT) RETURNS public.users
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  _nowhere CONSTANT TEXT := subject || '@users.invalid';
  _caller CONSTANT JSONB := ledger.act_as(jsonb_build_object('actor', subject, 'actor_kind', 'user'));
  _user public.users;
BEGIN
  INSERT INTO public.users (subject, email, name) VALUES (subject, coalesce(email, _nowhere), name)
  ON CONFLICT DO NOTHING;
  -- Does nothing if the first one did; else the email is another user's.
  INSERT INTO public.users (subject, email, name) VALUES (subject, _nowhere, name)
  ON CONFLICT DO NOTHING;
  PERFORM ledger.act_as(_caller);
  SELECT u.* INTO STRICT _user FROM public.users AS u WHERE u.subject = make_user.subject;
  RETURN _user;
END;
$$;

REVOKE ALL ON FUNCTION identity.make_user FROM PUBLIC;
