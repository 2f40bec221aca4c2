-- The log-in that a session in an application belongs to, locked until the end of the transaction: of who
-- exchanges a token and who logs out at the same moment, the second one sees what the first one did.
CREATE OR REPLACE FUNCTION identity.log_in_of(jti UUID) RETURNS UUID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _log_in CONSTANT UUID := (
    SELECT coalesce(s.log_in, s.jti) FROM public.cross_app_sessions AS s WHERE s.jti = log_in_of.jti
  );
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('sessions of log-in ' || _log_in, 0));
  RETURN _log_in;
END;
$$;

REVOKE ALL ON FUNCTION identity.log_in_of FROM PUBLIC;
