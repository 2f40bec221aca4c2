-- A hold of a user's credits by its id, of the user who is named, if one is: others do not have it.
CREATE OR REPLACE FUNCTION ledger.find_balance_hold(hold_id UUID, user_id TEXT)
RETURNS public.user_credit_holds
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _user_id CONSTANT BIGINT := CASE
    WHEN find_balance_hold.user_id IS NOT NULL THEN (ledger.find_user(find_balance_hold.user_id)).id
  END;
  _hold public.user_credit_holds;
BEGIN
  SELECT hold.* INTO _hold
  FROM public.user_credit_holds AS hold
  WHERE hold.id = find_balance_hold.hold_id
    AND (_user_id IS NULL OR hold.user_id = _user_id);
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no hold %s here.', find_balance_hold.hold_id)
    ));
  END IF;
  RETURN _hold;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_balance_hold FROM PUBLIC;
