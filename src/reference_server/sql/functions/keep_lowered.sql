-- An allocation that somebody lowers by hand is meant to be that small: no reset makes up for an earlier
-- shortfall. (A reset that lowers an allocation raises its shortfall by as much, so it is not meant here.)
CREATE OR REPLACE FUNCTION ledger.keep_lowered() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.user_credit_allocations AS allocation
  SET shortfall_credits = 0
  WHERE allocation.org_id = NEW.org_id AND allocation.id = NEW.id;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_lowered FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_lowered_on_update
AFTER UPDATE OF allocated_credits ON public.user_credit_allocations
FOR EACH ROW
WHEN (
  new.allocated_credits < old.allocated_credits
  AND new.shortfall_credits = old.shortfall_credits
  AND old.shortfall_credits <> 0
)
EXECUTE FUNCTION ledger.keep_lowered();
