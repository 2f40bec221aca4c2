-- Let an organisation leave this database, under the id of a move. One that has left stays as it is.
-- When this has committed, every change of its books is either committed before, or refused.
CREATE OR REPLACE FUNCTION cells.leave(org_id TEXT, move_id UUID) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  -- In the order in which others lock; the organisation comes last for those who only insert.
  PERFORM FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = leave.org_id
  ORDER BY allocation.id
  FOR UPDATE;
  PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = leave.org_id FOR UPDATE;
  PERFORM FROM public.organizations AS organization WHERE organization.id = leave.org_id FOR UPDATE;
  IF ledger.is_elsewhere(leave.org_id) THEN
    RETURN;
  END IF;
  UPDATE public.organizations AS organization
  SET updated_at = organization.updated_at
  WHERE organization.id = leave.org_id;
  UPDATE public.organization_subscriptions AS subscription
  SET updated_at = subscription.updated_at
  WHERE subscription.org_id = leave.org_id;
  UPDATE public.credit_pools AS pool SET moved = TRUE WHERE pool.org_id = leave.org_id;
  UPDATE public.user_credit_allocations AS allocation SET moved = TRUE
  WHERE allocation.org_id = leave.org_id;
  INSERT INTO public.organization_cells (org_id, is_here, move_id)
  VALUES (leave.org_id, FALSE, leave.move_id)
  ON CONFLICT (org_id) DO UPDATE
  SET is_here = FALSE, move_id = excluded.move_id, updated_at = ledger.now();
END;
$$;

REVOKE ALL ON FUNCTION cells.leave FROM PUBLIC;
