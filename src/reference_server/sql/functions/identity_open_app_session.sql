-- Opens a session of a user in an application, in the user's own name. One that it replaces ends a little
-- later (`grace`, in seconds), so that a request whose answer was lost can be repeated.
CREATE OR REPLACE FUNCTION identity.open_app_session(
  jti UUID,
  app_id TEXT,
  user_id BIGINT,
  app_user_id TEXT,
  app_metadata JSONB,
  expires_at TIMESTAMPTZ,
  replaces UUID,
  grace INTEGER
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  _old public.cross_app_sessions;
BEGIN
  UPDATE public.cross_app_sessions AS s
  SET revoked_at = least(s.revoked_at, ledger.now() + make_interval(secs => grace))
  WHERE s.jti = replaces
  RETURNING s.* INTO _old;
  INSERT INTO public.cross_app_sessions (jti, app_id, user_id, app_user_id, app_metadata, expires_at)
  VALUES (
    jti, app_id, user_id,
    coalesce(app_user_id, _old.app_user_id),
    coalesce(app_metadata, _old.app_metadata, '{}'),
    expires_at
  );
END;
$$;

REVOKE ALL ON FUNCTION identity.open_app_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.open_app_session TO credits_app;
