-- Whether a lot of an organisation is over its time, or will be soon. To be asked in a statement of its own
-- after a wait: it sees what is committed by then.
CREATE OR REPLACE FUNCTION ledger.has_lots_due(org_id TEXT, within INTERVAL DEFAULT '0') RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN EXISTS (
    SELECT FROM public.organizations AS organization
    WHERE organization.id = has_lots_due.org_id
      AND organization.lots_due_at <= ledger.now() + has_lots_due.within
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.has_lots_due FROM PUBLIC;
