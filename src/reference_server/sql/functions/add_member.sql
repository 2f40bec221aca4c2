-- Invariants: an organisation has no more members than seats, and a user one default organisation at most,
-- of those that were joined here. New members of an organisation stand in line at its row, a user's
-- choices of a default at a lock of the user's; both are waited for in this order.
--
-- Repeating a call changes nothing. Without `is_default`, a member's default stays what it is. Who comes back
-- has the allocation that they left; one that somebody switched off stays off.
CREATE OR REPLACE FUNCTION ledger.add_member(
  org_id TEXT, user_id TEXT, role TEXT DEFAULT 'member', is_default BOOLEAN DEFAULT FALSE
) RETURNS ledger.member
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _role CONSTANT TEXT := coalesce(add_member.role, 'member');
  _is_default CONSTANT BOOLEAN := coalesce(add_member.is_default, FALSE);
  _organization public.organizations;
  _member public.organization_members;
BEGIN
  IF _role NOT IN ('owner', 'admin', 'billing_admin', 'member') THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'role must be owner, admin, billing_admin or member.'
    ));
  ELSIF (length(add_member.user_id) BETWEEN 1 AND 255) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'user_id must have 1 to 255 characters.'));
  END IF;
  PERFORM ledger.require_open_organization(add_member.org_id);

  SELECT organization.* INTO _organization
  FROM public.organizations AS organization
  WHERE organization.id = add_member.org_id
  FOR NO KEY UPDATE;
  IF _is_default THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('default organisation of ' || add_member.user_id, 0));
  END IF;

  IF _organization.max_seats <= (
    SELECT count(*)
    FROM public.organization_members AS member
    WHERE member.org_id = add_member.org_id AND member.user_id <> add_member.user_id
  ) AND NOT EXISTS (
    SELECT FROM public.organization_members AS member
    WHERE member.org_id = add_member.org_id AND member.user_id = add_member.user_id
  ) THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'All %s seats of organisation %s are taken.', _organization.max_seats, add_member.org_id
    )));
  END IF;

  UPDATE public.user_credit_allocations AS allocation
  SET is_active = TRUE, has_left = FALSE, updated_at = ledger.now()
  WHERE allocation.org_id = add_member.org_id
    AND allocation.user_id = add_member.user_id
    AND allocation.has_left
    AND NOT EXISTS (
      SELECT FROM public.organization_members AS member
      WHERE member.org_id = add_member.org_id AND member.user_id = add_member.user_id
    );
  INSERT INTO public.organization_members AS member (org_id, user_id, role, is_default, joined_at)
  VALUES (add_member.org_id, add_member.user_id, _role, _is_default, ledger.now())
  ON CONFLICT (org_id, user_id) DO UPDATE
  SET role = excluded.role, is_default = member.is_default OR excluded.is_default
  WHERE member.role <> excluded.role OR member.is_default < excluded.is_default;
  IF _is_default THEN
    UPDATE public.organization_members AS member
    SET is_default = FALSE
    WHERE member.user_id = add_member.user_id AND member.org_id <> add_member.org_id AND member.is_default;
  END IF;

  SELECT member.* INTO _member
  FROM public.organization_members AS member
  WHERE member.org_id = add_member.org_id AND member.user_id = add_member.user_id;
  RETURN ledger.member_row(_member);
END;
$$;

REVOKE ALL ON FUNCTION ledger.add_member FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.add_member TO credits_app;
