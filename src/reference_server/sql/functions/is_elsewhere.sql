-- Whether an organisation of which there are rows here lives in another database.
CREATE OR REPLACE FUNCTION ledger.is_elsewhere(org_id TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM public.organization_cells AS place
    WHERE place.org_id = is_elsewhere.org_id AND NOT place.is_here
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.is_elsewhere FROM PUBLIC;
