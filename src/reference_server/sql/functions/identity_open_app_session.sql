-- Invariant: what was ended opens nothing. Opens a session of a user in an application, in the user's own
-- name. One that it replaces ends a little later (`grace`, in seconds), so that a request whose answer was
-- lost can be repeated; if it has ended meanwhile, there is no new one, and the answer is FALSE. So it is for
-- a log-in whose password was changed since it was compared: `password_hash` is what it fitted.
--
-- The user's row is locked before anything is looked at: whoever gives a new password, and then ends what is
-- open, either finds this session or is found here.
--
-- The user's sessions that nobody can exchange any more are forgotten.
DROP FUNCTION IF EXISTS identity.open_app_session(
  UUID, TEXT, BIGINT, TEXT, JSONB, TIMESTAMPTZ, UUID, INTEGER
); -- it knew nothing of passwords

CREATE OR REPLACE FUNCTION identity.open_app_session(
  jti UUID,
  app_id TEXT,
  user_id BIGINT,
  app_user_id TEXT,
  app_metadata JSONB,
  expires_at TIMESTAMPTZ,
  replaces UUID,
  grace INTEGER,
  password_hash TEXT DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  _log_in CONSTANT UUID := identity.log_in_of(replaces);
  _old public.cross_app_sessions;
BEGIN
  IF NOT identity.still_has_password(user_id, password_hash) THEN
    RETURN FALSE;
  END IF;
  UPDATE public.cross_app_sessions AS s
  SET revoked_at = least(s.revoked_at, ledger.now() + make_interval(secs => grace))
  WHERE s.jti = replaces AND (s.revoked_at IS NULL OR s.revoked_at > ledger.now())
  RETURNING s.* INTO _old;
  IF replaces IS NOT NULL AND NOT FOUND THEN
    RETURN FALSE;
  END IF;
  INSERT INTO public.cross_app_sessions (jti, app_id, user_id, app_user_id, app_metadata, expires_at, log_in)
  VALUES (
    jti, app_id, user_id,
    coalesce(app_user_id, _old.app_user_id),
    coalesce(app_metadata, _old.app_metadata, '{}'),
    expires_at, _log_in
  );
  DELETE FROM public.cross_app_sessions AS s
  WHERE s.user_id = open_app_session.user_id AND s.expires_at < ledger.now() - INTERVAL '1 day';
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION identity.open_app_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.open_app_session TO credits_app;
