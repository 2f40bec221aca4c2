-- Who is calling: the session or the API key with this digest (SHA-256 of the secret), and for a
-- session the user's role in each of their organisations, so that one round trip answers both who it
-- is and what they may do. NULL when it is unknown or revoked, or its user was switched off.
CREATE OR REPLACE FUNCTION identity.find_caller(digest BYTEA) RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT jsonb_build_object(
  'kind', 'session',
  'expired', s.expires_at <= ledger.now(),
  'user_id', s.user_id,
  'is_system_admin', s.is_system_admin OR COALESCE(u.user_type = 'admin', FALSE),
  'roles', COALESCE(
    (SELECT jsonb_object_agg(m.org_id, m.role) FROM public.organization_members AS m WHERE m.user_id = s.user_id),
    '{}'
  )
)
FROM public.auth_sessions AS s
LEFT JOIN public.users AS u ON u.id = CASE
  WHEN s.user_id ~ '^[0-9]{1,18}$' THEN s.user_id::BIGINT
  ELSE (SELECT named.id FROM public.users AS named WHERE named.subject = s.user_id)
END
WHERE s.token_digest = find_caller.digest AND s.revoked_at IS NULL AND COALESCE(u.is_active, TRUE)
UNION ALL
SELECT jsonb_build_object(
  'kind', 'key',
  'expired', COALESCE(k.expires_at <= ledger.now(), FALSE),
  'key_id', k.id,
  'scopes', k.scopes,
  'org_id', k.org_id,
  'requests_per_minute', k.requests_per_minute
)
FROM public.api_keys AS k
WHERE k.key_digest = find_caller.digest AND k.revoked_at IS NULL
$$;

REVOKE ALL ON FUNCTION identity.find_caller FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.find_caller TO credits_app;
