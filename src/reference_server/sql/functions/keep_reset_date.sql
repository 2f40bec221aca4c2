-- An allocation with a period has a date for its reset, also when somebody sets the period by hand. Not a
-- BEFORE trigger: that would make every charge lock its allocation a second time.
CREATE OR REPLACE FUNCTION ledger.keep_reset_date() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE public.user_credit_allocations AS allocation
  SET next_reset_date = ledger.next_reset(allocation.reset_period, ledger.now())
  WHERE allocation.org_id = NEW.org_id AND allocation.id = NEW.id;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_reset_date FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_reset_date_of_rows
AFTER INSERT OR UPDATE OF reset_period, next_reset_date ON public.user_credit_allocations
FOR EACH ROW
WHEN (new.reset_period <> 'never' AND new.next_reset_date IS NULL)
EXECUTE FUNCTION ledger.keep_reset_date();
