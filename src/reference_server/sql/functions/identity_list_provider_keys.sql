-- Which keys of providers an organisation has: never the keys themselves.
CREATE OR REPLACE FUNCTION identity.list_provider_keys(org_id TEXT) RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(jsonb_agg(to_jsonb(mine) - 'sealed' ORDER BY mine.provider COLLATE "C"), '[]')
FROM public.llm_provider_keys AS mine
WHERE mine.org_id = list_provider_keys.org_id
$$;

REVOKE ALL ON FUNCTION identity.list_provider_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.list_provider_keys TO credits_app;
