-- What an operator wants to know about a database that charges: its clock, its settings, and what was left
-- lying about. For `credits doctor`; reads no amounts and changes nothing.
CREATE OR REPLACE FUNCTION ledger.examine(OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT jsonb_build_object(
    'now', ledger.now(),
    'schema_version', (SELECT max(migration.version) FROM public.credit_sdk_migrations AS migration),
    'server_version', current_setting('server_version_num')::INTEGER,
    'is_standby', pg_is_in_recovery(),
    'is_superuser', (SELECT role.rolsuper FROM pg_roles AS role WHERE role.rolname = session_user),
    'is_owner', (
      SELECT pg_has_role(session_user, class.relowner, 'MEMBER')
      FROM pg_class AS class WHERE class.oid = 'public.credit_holds'::REGCLASS
    ),
    'is_durable', current_setting('fsync')::BOOLEAN AND current_setting('synchronous_commit') <> 'off',
    'connections', (SELECT sum(numbackends) FROM pg_stat_database),
    'max_connections', current_setting('max_connections')::INTEGER,
    'overdue_holds', (
      (
        SELECT count(*) FROM public.credit_holds AS hold
        WHERE hold.status = 'held' AND hold.expires_at <= ledger.now() - INTERVAL '5 minutes'
      )
      + (
        SELECT count(*) FROM public.user_credit_holds AS hold
        WHERE hold.status = 'held' AND hold.expires_at <= ledger.now() - INTERVAL '5 minutes'
      )
    ),
    -- Ids of holds rise with time: so these are the latest ones, found without reading the others.
    'latest_holds', count(*),
    'never_captured', count(*) FILTER (WHERE latest.status = 'expired')
  )
  INTO examine.document
  FROM (SELECT hold.status FROM public.credit_holds AS hold ORDER BY hold.id DESC LIMIT 1000) AS latest;
END;
$$;

REVOKE ALL ON FUNCTION ledger.examine FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.examine TO credits_app;
