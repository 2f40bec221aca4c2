-- Invariant: the books of an organisation that has left do not change: nothing is charged in two places.
--
-- Charges, holds, and what ends them, update an allocation or the pool, which say by themselves that they
-- were left: a condition of the trigger, so that others pay nothing for it. What only inserts rows is looked
-- up; the foreign key has locked the organisation by then, for which leaving waits, and which waits for it.
-- A transaction with an older snapshot meets a row that leaving has changed.
CREATE OR REPLACE FUNCTION ledger.keep_moved() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _org_id CONSTANT TEXT := CASE TG_OP WHEN 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
BEGIN
  PERFORM FROM public.organizations AS organization WHERE organization.id = _org_id FOR KEY SHARE;
  IF ledger.is_elsewhere(_org_id) THEN
    PERFORM ledger.refuse(ledger.moved_problem(_org_id));
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_moved FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_moved_on_update
AFTER UPDATE ON public.user_credit_allocations
FOR EACH ROW
WHEN (old.moved AND new.moved)
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_insert
AFTER INSERT ON public.user_credit_allocations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_update
AFTER UPDATE ON public.credit_pools
FOR EACH ROW
WHEN (old.moved AND new.moved)
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_insert
AFTER INSERT ON public.credit_pools
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_insert
AFTER INSERT ON public.org_billing_history
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_insert
AFTER INSERT ON public.credit_hold_extensions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_change
AFTER INSERT OR UPDATE ON public.organization_subscriptions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

CREATE OR REPLACE TRIGGER keep_moved_on_change
AFTER INSERT OR DELETE ON public.credit_caps
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_moved();

-- The home database keeps the members of organisations that live elsewhere, for who logs in.
CREATE OR REPLACE TRIGGER keep_moved_on_change
AFTER INSERT OR UPDATE OR DELETE ON public.organization_members
FOR EACH ROW
WHEN (current_setting('credits.mirroring', TRUE) IS DISTINCT FROM 'on')
EXECUTE FUNCTION ledger.keep_moved();
