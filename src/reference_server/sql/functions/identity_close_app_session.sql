-- Ends a session in an application now and for good, with all that the same log-in was exchanged for: also
-- tokens in their grace, which could be exchanged again.
CREATE OR REPLACE FUNCTION identity.close_app_session(jti UUID) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _log_in CONSTANT UUID := identity.log_in_of(close_app_session.jti);
BEGIN
  UPDATE public.cross_app_sessions AS s
  SET revoked_at = least(s.revoked_at, ledger.now())
  WHERE s.jti = _log_in OR s.log_in = _log_in;
END;
$$;

REVOKE ALL ON FUNCTION identity.close_app_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.close_app_session TO credits_app;
