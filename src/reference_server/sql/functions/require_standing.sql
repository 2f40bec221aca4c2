-- Only members, and users with an allocation, learn anything about an organisation.
CREATE OR REPLACE FUNCTION ledger.require_standing(org_id TEXT, user_id TEXT) RETURNS VOID
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  IF NOT EXISTS (
    SELECT FROM public.organization_members AS member
    WHERE member.org_id = require_standing.org_id AND member.user_id = require_standing.user_id
  ) AND NOT EXISTS (
    SELECT FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = require_standing.org_id AND allocation.user_id = require_standing.user_id
  ) THEN
    PERFORM ledger.refuse(
      ledger.not_a_member_problem(require_standing.org_id, require_standing.user_id)
    );
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_standing FROM PUBLIC;
