-- A pool that is to be refreshed has a date for it, also when somebody sets the amount by hand.
CREATE OR REPLACE FUNCTION ledger.keep_refresh_date() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.next_refresh_date := ledger.next_reset('monthly', ledger.now());
  RETURN NEW;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_refresh_date FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_refresh_date_of_rows
BEFORE INSERT OR UPDATE ON public.credit_pools
FOR EACH ROW
WHEN (new.monthly_refresh_amount > 0 AND new.next_refresh_date IS NULL)
EXECUTE FUNCTION ledger.keep_refresh_date();
