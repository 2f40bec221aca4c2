-- Whether a row is there, but for what is in an archive that is detached.
CREATE OR REPLACE FUNCTION ledger.is_detached(org_id TEXT, kind TEXT, entry_id UUID) RETURNS BOOLEAN
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN is_detached.kind = 'charge' AND (
    SELECT count(*) = 1
      AND bool_and(
        charge.request_metadata IS NULL
        AND ledger.archived_metadata(charge.org_id, charge.id, charge.created_at) IS NULL
      )
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = is_detached.org_id AND charge.id = is_detached.entry_id
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.is_detached FROM PUBLIC;
