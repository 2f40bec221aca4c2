-- A user as applications may know them: never the password's hash.
CREATE OR REPLACE FUNCTION identity.app_person(id BIGINT) RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'user_id', u.id,
  'subject', u.subject,
  'email', u.email,
  'name', u.name,
  'user_type', u.user_type,
  'credits', u.credits::TEXT,
  'available', (u.credits - u.held_credits)::TEXT
)
FROM public.users AS u
WHERE u.id = app_person.id AND u.is_active
$$;

REVOKE ALL ON FUNCTION identity.app_person FROM PUBLIC;
