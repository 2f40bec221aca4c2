-- An application as its own requests may know it, and whether the request's key (NULL for none) is good
-- enough. NULL when it is unknown or suspended.
CREATE OR REPLACE FUNCTION identity.app_row(app_id TEXT, key_digest BYTEA) RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'app_id', a.app_id,
  'app_name', a.app_name,
  'app_domain', a.app_domain,
  'permissions', a.permissions,
  'has_key', app_row.key_digest IS NOT NULL,
  'key_fits', CASE
    WHEN app_row.key_digest IS NULL THEN NOT a.api_key_required
    ELSE a.api_key_hash = app_row.key_digest
  END
)
FROM public.app_integrations AS a
WHERE a.app_id = app_row.app_id AND a.status = 'active'
$$;

REVOKE ALL ON FUNCTION identity.app_row FROM PUBLIC;
