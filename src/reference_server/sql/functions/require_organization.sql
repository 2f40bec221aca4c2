-- An organisation that does not exist is refused by the code for one that the caller may not see.
CREATE OR REPLACE FUNCTION ledger.require_organization(org_id TEXT) RETURNS VOID
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM public.organizations AS organization WHERE organization.id = require_organization.org_id
  ) THEN
    PERFORM ledger.refuse(ledger.not_a_member_problem(require_organization.org_id, NULL));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_organization FROM PUBLIC;
