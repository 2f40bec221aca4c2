-- What a log-in is decided by: the application, and the active user with that email and a password. The hash
-- is told to compare it with the password, which PostgreSQL itself cannot.
CREATE OR REPLACE FUNCTION identity.find_login(app_id TEXT, key_digest BYTEA, email TEXT) RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'app', identity.app_row(find_login.app_id, find_login.key_digest),
  'user', (
    SELECT identity.app_person(u.id) || jsonb_build_object('password_hash', u.password_hash)
    FROM public.users AS u
    WHERE u.email = find_login.email AND u.is_active AND u.password_hash IS NOT NULL
  )
)
$$;

REVOKE ALL ON FUNCTION identity.find_login FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.find_login TO credits_app;
