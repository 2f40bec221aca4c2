-- The metadata of a charge that is in the archive, as text; NULL if its month is detached.
CREATE OR REPLACE FUNCTION ledger.archived_metadata(
  org_id TEXT, charge_id UUID, created_at TIMESTAMPTZ
) RETURNS TEXT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN (
    SELECT archived.entry[array_position(ledger.entry_names('charge'), 'request_metadata')]
    FROM public.credit_usage_archive AS archived
    WHERE archived.org_id = archived_metadata.org_id
      AND archived.charge_id = archived_metadata.charge_id
      AND archived.created_at = archived_metadata.created_at
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.archived_metadata FROM PUBLIC;
