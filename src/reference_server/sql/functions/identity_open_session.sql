-- Opens a session of a user, in the user's own name. The secret stays outside: `digest` is its SHA-256.
-- For a log-in with a password, `password_hash` is what it fitted: if that was changed meanwhile, there is no
-- session, and the answer is FALSE. See `identity.open_app_session`.
DROP FUNCTION IF EXISTS identity.open_session(BYTEA, TEXT, BOOLEAN, INTEGER); -- it knew nothing of passwords

CREATE OR REPLACE FUNCTION identity.open_session(
  digest BYTEA, user_id TEXT, is_system_admin BOOLEAN, seconds INTEGER, password_hash TEXT DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _caller JSONB;
BEGIN
  IF password_hash IS NOT NULL AND NOT identity.still_has_password(
    (ledger.find_user(open_session.user_id)).id, password_hash
  ) THEN
    RETURN FALSE;
  END IF;
  _caller := ledger.act_as(jsonb_build_object('actor', open_session.user_id, 'actor_kind', 'user'));
  INSERT INTO public.auth_sessions (token_digest, user_id, is_system_admin, expires_at)
  VALUES (
    open_session.digest,
    open_session.user_id,
    open_session.is_system_admin,
    ledger.now() + make_interval(secs => open_session.seconds)
  );
  PERFORM ledger.act_as(_caller);
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION identity.open_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.open_session TO credits_app;
