-- Who is let go on by hand has not left any more: when somebody stops them later, they stay stopped. Not a
-- BEFORE trigger: see `ledger.keep_reset_date`.
CREATE OR REPLACE FUNCTION ledger.forget_leaving() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.user_credit_allocations AS allocation
  SET has_left = FALSE
  WHERE allocation.org_id = NEW.org_id AND allocation.id = NEW.id;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.forget_leaving FROM PUBLIC;

CREATE OR REPLACE TRIGGER forget_leaving_on_update
AFTER UPDATE OF is_active ON public.user_credit_allocations
FOR EACH ROW
WHEN (new.is_active AND new.has_left)
EXECUTE FUNCTION ledger.forget_leaving();
