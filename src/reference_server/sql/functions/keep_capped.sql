-- Invariant: the allocations of an organisation with caps are marked. `ledger.set_cap` marks those that there
-- are; new ones wait for it at the organisation's row, and mark themselves.
CREATE OR REPLACE FUNCTION ledger.keep_capped() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM public.organizations AS organization WHERE organization.id = NEW.org_id FOR SHARE;
  UPDATE public.user_credit_allocations AS allocation
  SET capped = TRUE
  WHERE allocation.org_id = NEW.org_id
    AND allocation.id = NEW.id
    AND EXISTS (SELECT FROM public.credit_caps AS cap WHERE cap.org_id = NEW.org_id);
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_capped FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_capped_on_insert
AFTER INSERT ON public.user_credit_allocations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_capped();
