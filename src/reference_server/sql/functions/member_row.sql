-- A member as it is answered, with their share of the organisation's credits.
CREATE OR REPLACE FUNCTION ledger.member_row(member public.organization_members) RETURNS ledger.member
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _row ledger.member;
BEGIN
  SELECT
    member.org_id, member.user_id, person.email, person.name, member.role, member.is_default,
    member.joined_at, coalesce(allocation.allocated_credits, 0), coalesce(allocation.used_credits, 0),
    coalesce(allocation.remaining_credits, 0)
  INTO _row
  FROM (SELECT) AS anybody
  LEFT JOIN public.users AS person ON person.subject = member.user_id
  LEFT JOIN public.user_credit_allocations AS allocation
    ON allocation.org_id = member.org_id AND allocation.user_id = member.user_id;
  RETURN _row;
END;
$$;

REVOKE ALL ON FUNCTION ledger.member_row FROM PUBLIC;
