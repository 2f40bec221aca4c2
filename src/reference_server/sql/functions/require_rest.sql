-- Refuse to capture what is left of a hold that was charged part by part, when nothing is.
CREATE OR REPLACE FUNCTION ledger.require_rest(hold public.credit_holds, credits BIGINT) RETURNS VOID
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF coalesce(credits, hold.credits) = 0 THEN
    PERFORM ledger.refuse(ledger.problem('hold_closed', format('The hold %s has nothing left.', hold.id)));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_rest FROM PUBLIC;
