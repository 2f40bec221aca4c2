-- In the home database: in which cell an organisation lives; NULL is home.
CREATE OR REPLACE FUNCTION cells.locate(org_id TEXT) RETURNS TEXT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (SELECT place.cell FROM public.organization_cells AS place WHERE place.org_id = locate.org_id);
END;
$$;

REVOKE ALL ON FUNCTION cells.locate FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cells.locate TO credits_app;
