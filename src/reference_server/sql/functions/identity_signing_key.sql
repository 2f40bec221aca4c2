-- The key that signs now, NULL before there is one.
CREATE OR REPLACE FUNCTION identity.signing_key() RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT (
  SELECT jsonb_build_object('kid', k.kid, 'private_key', k.private_key)
  FROM public.cross_app_signing_keys AS k
  WHERE k.retired_at IS NULL
)
$$;

REVOKE ALL ON FUNCTION identity.signing_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.signing_key TO credits_app;
