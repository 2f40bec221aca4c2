-- Why a user cannot spend this much now; NULL when nothing speaks against it. Amounts are millicredits.
-- `own_hold` are the credits of the hold that is being captured: they are set aside for this already.
CREATE OR REPLACE FUNCTION ledger.balance_problem(
  person public.users, required BIGINT, own_hold BIGINT DEFAULT 0
) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _name CONSTANT TEXT := ledger.user_name(person);
  _available CONSTANT BIGINT := (person.credits - person.held_credits) * 1000 + own_hold;
BEGIN
  IF required <= own_hold THEN
    RETURN NULL;
  ELSIF NOT person.is_active THEN
    RETURN ledger.problem(
      'no_allocation', format('No credit allocation: user %s is not active.', _name), '{"limit": "inactive"}'
    );
  ELSIF required <= _available THEN
    RETURN NULL;
  END IF;
  RETURN ledger.problem(
    'insufficient_credits',
    format(
      'Insufficient credits: %s required, %s available in the ' || CASE
        WHEN own_hold > 0 THEN 'hold and the balance of user %s.'
        ELSE 'balance of user %s.'
      END,
      ledger.format_credits(required), ledger.format_credits(_available), _name
    ),
    jsonb_build_object(
      'limit', CASE WHEN own_hold > 0 THEN 'hold' ELSE 'balance' END,
      'required', required,
      'available', _available
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.balance_problem FROM PUBLIC;
