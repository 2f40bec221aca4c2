-- Ends a session for good, in its user's name; one that is unknown or has ended stays as it is.
CREATE OR REPLACE FUNCTION identity.close_session(digest BYTEA) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _user_id CONSTANT TEXT := (
    SELECT s.user_id FROM public.auth_sessions AS s WHERE s.token_digest = close_session.digest
  );
  _caller CONSTANT JSONB := ledger.act_as(jsonb_build_object('actor', _user_id, 'actor_kind', 'user'));
BEGIN
  UPDATE public.auth_sessions AS s
  SET revoked_at = ledger.now()
  WHERE s.token_digest = close_session.digest AND s.revoked_at IS NULL;
  PERFORM ledger.act_as(_caller);
END;
$$;

REVOKE ALL ON FUNCTION identity.close_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.close_session TO credits_app;
