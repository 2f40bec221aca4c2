-- Offers the first key; answers the one that signs, which may be what another process has offered.
CREATE OR REPLACE FUNCTION identity.keep_signing_key(kid TEXT, private_key TEXT, public_key TEXT)
RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO public.cross_app_signing_keys (kid, private_key, public_key)
  VALUES (keep_signing_key.kid, keep_signing_key.private_key, keep_signing_key.public_key)
  ON CONFLICT DO NOTHING;
  RETURN identity.signing_key();
END;
$$;

REVOKE ALL ON FUNCTION identity.keep_signing_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.keep_signing_key TO credits_app;
