-- A hold by its id, within an organisation if one is named: elsewhere it does not exist.
CREATE OR REPLACE FUNCTION ledger.find_hold(hold_id UUID, org_id TEXT) RETURNS public.credit_holds
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.credit_holds;
BEGIN
  SELECT hold.* INTO _hold
  FROM public.credit_holds AS hold
  WHERE hold.id = find_hold.hold_id
    AND (find_hold.org_id IS NULL OR hold.org_id = find_hold.org_id);
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no hold %s here.', find_hold.hold_id)
    ));
  END IF;
  RETURN _hold;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_hold FROM PUBLIC;
