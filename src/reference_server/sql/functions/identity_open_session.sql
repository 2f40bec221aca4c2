-- Opens a session of a user, in the user's own name. The secret stays outside: `digest` is its SHA-256.
CREATE OR REPLACE FUNCTION identity.open_session(
  digest BYTEA, user_id TEXT, is_system_admin BOOLEAN, seconds INTEGER
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _caller CONSTANT JSONB := ledger.act_as(
    jsonb_build_object('actor', open_session.user_id, 'actor_kind', 'user')
  );
BEGIN
  INSERT INTO public.auth_sessions (token_digest, user_id, is_system_admin, expires_at)
  VALUES (
    open_session.digest,
    open_session.user_id,
    open_session.is_system_admin,
    ledger.now() + make_interval(secs => open_session.seconds)
  );
  PERFORM ledger.act_as(_caller);
END;
$$;

REVOKE ALL ON FUNCTION identity.open_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.open_session TO credits_app;
