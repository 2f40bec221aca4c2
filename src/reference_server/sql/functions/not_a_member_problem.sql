-- Known and unknown organisations are refused with the same words, so that nobody learns which exist.
CREATE OR REPLACE FUNCTION ledger.not_a_member_problem(org_id TEXT, user_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem('not_a_member', format(
    CASE
      WHEN not_a_member_problem.user_id IS NULL THEN 'Not a member of organisation %1$s.'
      ELSE 'User %2$s is not a member of organisation %1$s.'
    END,
    not_a_member_problem.org_id, not_a_member_problem.user_id
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.not_a_member_problem FROM PUBLIC;
