-- A new lot of an organisation, whose row and pool the caller has locked. What was spent until now is written
-- down first: it was not spent from the new one.
CREATE OR REPLACE FUNCTION ledger.add_pool_lot(
  org_id TEXT, credits BIGINT, expires_at TIMESTAMPTZ, priority INTEGER, request_id TEXT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM ledger.settle_pool_lots(add_pool_lot.org_id, moment);
  INSERT INTO public.credit_lots (org_id, credits, priority, expires_at, request_id, created_at, updated_at)
  VALUES (
    add_pool_lot.org_id, add_pool_lot.credits, coalesce(add_pool_lot.priority, 100), add_pool_lot.expires_at,
    add_pool_lot.request_id, moment, moment
  );
  UPDATE public.organizations AS organization
  SET lots_due_at = least(organization.lots_due_at, add_pool_lot.expires_at)
  WHERE organization.id = add_pool_lot.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.add_pool_lot FROM PUBLIC;
