-- Who a person of the identity provider is here, as `identity.find_caller` says it. The user is known by
-- the provider's subject alone, made on first sight, and follows the provider's email and name (NULL says
-- nothing about them). An email that another user has is never a way into that user's account: the
-- newcomer gets an address that nobody can have. NULL when the user was switched off, and for a newcomer
-- whose subject is a short number, which is how users are called by their `id` here.
CREATE OR REPLACE FUNCTION identity.recognise(subject TEXT, email TEXT, name TEXT) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _user public.users;
  _email TEXT;
  _name TEXT;
BEGIN
  SELECT u.* INTO _user FROM public.users AS u WHERE u.subject = recognise.subject;
  IF NOT FOUND AND recognise.subject ~ '^[0-9]{1,18}$' THEN
    RETURN NULL;
  ELSIF NOT FOUND THEN
    _user := identity.make_user(recognise.subject, recognise.email, recognise.name);
  ELSE
    _email := CASE
      WHEN EXISTS (SELECT FROM public.users AS u WHERE u.email = recognise.email) THEN _user.email
      ELSE coalesce(recognise.email, _user.email)
    END;
    _name := coalesce(recognise.name, _user.name);
    IF (_email, _name) IS DISTINCT FROM (_user.email, _user.name) THEN
      UPDATE public.users AS u SET email = _email, name = _name WHERE u.id = _user.id;
    END IF;
  END IF;
  IF NOT _user.is_active THEN
    RETURN NULL;
  END IF;
  RETURN jsonb_build_object(
    'kind', 'session',
    'expired', FALSE,
    'user_id', _user.subject,
    'is_system_admin', _user.user_type = 'admin',
    'roles', coalesce(
      (
        SELECT jsonb_object_agg(m.org_id, m.role)
        FROM public.organization_members AS m
        WHERE m.user_id = _user.subject
      ),
      '{}'
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION identity.recognise FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.recognise TO credits_app;
