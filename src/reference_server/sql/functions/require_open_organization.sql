-- A deleted organisation's books are closed; a suspended one's pool can still be filled and shared out.
CREATE OR REPLACE FUNCTION ledger.require_open_organization(org_id TEXT) RETURNS VOID
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _status TEXT;
BEGIN
  PERFORM ledger.require_organization(require_open_organization.org_id);
  SELECT organization.status INTO _status
  FROM public.organizations AS organization
  WHERE organization.id = require_open_organization.org_id;
  IF _status = 'deleted' THEN
    PERFORM ledger.refuse(ledger.inactive_problem(require_open_organization.org_id, _status));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_open_organization FROM PUBLIC;
