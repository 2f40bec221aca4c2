-- Ends a session for good; one that is unknown or has ended stays as it is.
CREATE OR REPLACE FUNCTION identity.close_session(digest BYTEA) RETURNS VOID
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
UPDATE auth_sessions AS s
SET revoked_at = ledger.now()
WHERE s.token_digest = close_session.digest AND s.revoked_at IS NULL
$$;

REVOKE ALL ON FUNCTION identity.close_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.close_session TO credits_app;
