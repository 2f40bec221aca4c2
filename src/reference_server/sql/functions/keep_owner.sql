-- Invariant: an organisation that has an owner keeps one, whoever changes its members: a function or a
-- plain UPDATE or DELETE. Under the organisation's lock, so that of two owners who leave at the same moment
-- one stays.
CREATE OR REPLACE FUNCTION ledger.keep_owner() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM public.organizations AS organization WHERE organization.id = OLD.org_id FOR NO KEY UPDATE;
  -- A statement of its own, to see what others committed while this one waited for the lock.
  IF NOT EXISTS (
    SELECT FROM public.organization_members AS member WHERE member.org_id = OLD.org_id AND member.role = 'owner'
  ) THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'User %s is the last owner of organisation %s: make somebody else an owner first.',
      OLD.user_id, OLD.org_id
    )));
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_owner FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_owner_on_update
AFTER UPDATE OF role, org_id ON public.organization_members
FOR EACH ROW
WHEN (old.role = 'owner' AND (new.role <> 'owner' OR new.org_id <> old.org_id))
EXECUTE FUNCTION ledger.keep_owner();

CREATE OR REPLACE TRIGGER keep_owner_on_delete
AFTER DELETE ON public.organization_members
FOR EACH ROW
WHEN (old.role = 'owner')
EXECUTE FUNCTION ledger.keep_owner();
