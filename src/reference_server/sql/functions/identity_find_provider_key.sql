-- An organisation's key of a provider, as it was encrypted; NULL when it has none.
CREATE OR REPLACE FUNCTION identity.find_provider_key(org_id TEXT, provider TEXT) RETURNS BYTEA
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT mine.sealed
FROM public.llm_provider_keys AS mine
WHERE mine.org_id = find_provider_key.org_id AND mine.provider = find_provider_key.provider
$$;

REVOKE ALL ON FUNCTION identity.find_provider_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.find_provider_key TO credits_app;
