-- Whose session a digest stands for; unknown and revoked ones are refused alike, expired ones say so.
CREATE OR REPLACE FUNCTION ledger.user_of_session(session_digest TEXT) RETURNS TEXT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _session public.auth_sessions;
BEGIN
  IF session_digest IS NULL OR session_digest !~ '^[0-9a-f]{64}$' THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'Name the user by user_id or by session_digest.'
    ));
  END IF;
  SELECT session.* INTO _session
  FROM public.auth_sessions AS session
  WHERE session.token_digest = decode(session_digest, 'hex');
  IF NOT FOUND OR _session.revoked_at IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.problem('invalid_token', 'The session is not known here, or was revoked.'));
  ELSIF _session.expires_at <= ledger.now() THEN
    PERFORM ledger.refuse(ledger.problem('token_expired', 'The session has expired; log in again.'));
  END IF;
  RETURN _session.user_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.user_of_session FROM PUBLIC;
