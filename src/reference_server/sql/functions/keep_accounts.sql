-- Invariant: an allocation with charges or holds stays, with its id, its organisation and its user.
-- What RESTRICT would do, for the price of a look when an allocation is deleted, and none when it is charged.
CREATE OR REPLACE FUNCTION ledger.keep_accounts() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR EXISTS (
    SELECT FROM public.credit_usage_attribution AS charge WHERE charge.allocation_id = OLD.id
  ) OR EXISTS (
    SELECT FROM public.credit_holds AS hold WHERE hold.org_id = OLD.org_id AND hold.user_id = OLD.user_id
  ) THEN
    RAISE EXCEPTION
      'The allocation of user % in organisation % has a history: it stays.', OLD.user_id, OLD.org_id
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_accounts FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_accounts_on_delete
BEFORE DELETE ON public.user_credit_allocations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_accounts();

CREATE OR REPLACE TRIGGER keep_accounts_on_update
AFTER UPDATE OF id, org_id, user_id ON public.user_credit_allocations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_accounts();
