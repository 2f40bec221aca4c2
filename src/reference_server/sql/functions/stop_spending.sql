-- Invariant: who has left an organisation spends nothing of it, whoever removed them and however. What was
-- held before can be captured: the work is done. An allocation of somebody who never was a member stays good,
-- since it is given by hand. Who was stopped before has not left: coming back does not let them go on.
CREATE OR REPLACE FUNCTION ledger.stop_spending() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.user_credit_allocations AS allocation
  SET is_active = FALSE, has_left = TRUE, updated_at = ledger.now()
  WHERE allocation.org_id = OLD.org_id
    AND allocation.user_id = OLD.user_id
    AND allocation.is_active
    AND NOT allocation.moved;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.stop_spending FROM PUBLIC;

-- After `keep_owner`, which locks the organisation.
CREATE OR REPLACE TRIGGER stop_spending_on_delete
AFTER DELETE ON public.organization_members
FOR EACH ROW
EXECUTE FUNCTION ledger.stop_spending();

CREATE OR REPLACE TRIGGER stop_spending_on_update
AFTER UPDATE OF org_id, user_id ON public.organization_members
FOR EACH ROW
WHEN (old.org_id <> new.org_id OR old.user_id <> new.user_id)
EXECUTE FUNCTION ledger.stop_spending();
