-- Forget an organisation's key of a provider. Says whether there was one.
CREATE OR REPLACE FUNCTION identity.drop_provider_key(org_id TEXT, provider TEXT, actor JSONB) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.act_as(drop_provider_key.actor);
  DELETE FROM public.llm_provider_keys AS mine
  WHERE mine.org_id = drop_provider_key.org_id AND mine.provider = drop_provider_key.provider;
  RETURN FOUND;
END;
$$;

REVOKE ALL ON FUNCTION identity.drop_provider_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.drop_provider_key TO credits_app;
