-- Before anything is taken from an organisation, what is over its time expires. Answers whether a lot was
-- due: then what was decided before is to be decided again. To be called before allocations are locked.
CREATE OR REPLACE FUNCTION ledger.expire_due_lots(org_id TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.organizations AS organization
  WHERE organization.id = expire_due_lots.org_id AND organization.lots_due_at <= ledger.now();
  RETURN FOUND AND coalesce(ledger.expire_pool_lots(expire_due_lots.org_id), 0) >= 0;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_due_lots FROM PUBLIC;
