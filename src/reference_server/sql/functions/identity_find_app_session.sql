-- All that a token is judged by, in one round trip: the application that shows it, the key that is said to
-- have signed it, and the session that it is said to be. Nothing of it counts before the signature fits.
CREATE OR REPLACE FUNCTION identity.find_app_session(app_id TEXT, key_digest BYTEA, kid TEXT, jti UUID)
RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'app', identity.app_row(find_app_session.app_id, find_app_session.key_digest),
  'public_key', (SELECT k.public_key FROM public.cross_app_signing_keys AS k WHERE k.kid = find_app_session.kid),
  'user', (
    SELECT identity.app_person(s.user_id)
    FROM public.cross_app_sessions AS s
    WHERE
      s.jti = find_app_session.jti
      AND s.app_id = find_app_session.app_id
      AND (s.revoked_at IS NULL OR s.revoked_at > ledger.now())
  )
)
$$;

REVOKE ALL ON FUNCTION identity.find_app_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.find_app_session TO credits_app;
