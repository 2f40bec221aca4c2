-- For a user, known and unknown organisations are refused with the same words: nobody learns which exist.
-- Where no user is named, whoever comes as far as this may know: the server has refused all others before.
CREATE OR REPLACE FUNCTION ledger.not_a_member_problem(org_id TEXT, user_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.problem('not_a_member', format(
    CASE
      WHEN not_a_member_problem.user_id IS NULL THEN 'There is no organisation ''%1$s''.'
      ELSE 'User %2$s is not a member of organisation %1$s.'
    END,
    not_a_member_problem.org_id, not_a_member_problem.user_id
  ));
END;
$$;

REVOKE ALL ON FUNCTION ledger.not_a_member_problem FROM PUBLIC;
