-- Take back that an organisation left, when it could not arrive: its books go on here.
CREATE OR REPLACE FUNCTION cells.stay(org_id TEXT, move_id UUID) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.organizations AS organization WHERE organization.id = stay.org_id FOR UPDATE;
  UPDATE public.organization_cells AS place
  SET is_here = TRUE, updated_at = ledger.now()
  WHERE place.org_id = stay.org_id AND place.move_id = stay.move_id AND NOT place.is_here;
  IF FOUND THEN
    UPDATE public.user_credit_allocations AS allocation SET moved = FALSE
    WHERE allocation.org_id = stay.org_id;
    UPDATE public.credit_pools AS pool SET moved = FALSE WHERE pool.org_id = stay.org_id;
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION cells.stay FROM PUBLIC;
