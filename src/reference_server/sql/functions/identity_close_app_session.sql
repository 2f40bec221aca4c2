-- Ends a session in an application now and for good; one that has ended stays as it is.
CREATE OR REPLACE FUNCTION identity.close_app_session(jti UUID) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.cross_app_sessions AS s
  SET revoked_at = least(s.revoked_at, ledger.now())
  WHERE s.jti = close_app_session.jti;
END;
$$;

REVOKE ALL ON FUNCTION identity.close_app_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.close_app_session TO credits_app;
