-- An organisation's key of a provider, encrypted: one for each provider, the latest.
CREATE OR REPLACE FUNCTION identity.keep_provider_key(
  org_id TEXT, provider TEXT, sealed BYTEA, hint TEXT, actor JSONB
) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _kept public.llm_provider_keys;
BEGIN
  PERFORM ledger.act_as(keep_provider_key.actor);
  INSERT INTO public.llm_provider_keys AS mine (org_id, provider, sealed, hint, updated_by)
  VALUES (
    keep_provider_key.org_id,
    keep_provider_key.provider,
    keep_provider_key.sealed,
    keep_provider_key.hint,
    keep_provider_key.actor ->> 'actor'
  )
  ON CONFLICT (org_id, provider) DO UPDATE
  SET
    sealed = excluded.sealed,
    hint = excluded.hint,
    updated_by = excluded.updated_by,
    updated_at = ledger.now()
  RETURNING mine.* INTO _kept;
  RETURN to_jsonb(_kept) - 'sealed';
END;
$$;

REVOKE ALL ON FUNCTION identity.keep_provider_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.keep_provider_key TO credits_app;
