-- Write down what of a user's lots was used by a moment, or by now. The caller has locked the user's row.
-- Answers the row as it is then.
CREATE OR REPLACE FUNCTION ledger.settle_balance_lots(
  person public.users, moment TIMESTAMPTZ, until TIMESTAMPTZ DEFAULT NULL
) RETURNS public.users
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _person public.users;
BEGIN
  UPDATE public.credit_lots AS lot
  SET used_credits = lot.used_credits + absorbing.absorbed, updated_at = moment
  FROM ledger.lots_of_balance(person, until) AS absorbing
  WHERE lot.id = absorbing.lot_id AND absorbing.absorbed > 0;
  UPDATE public.users AS settled
  SET lots_settled_id = greatest(settled.lots_settled_id, (
    SELECT max(entry.id)
    FROM public.credits_transactions AS entry
    WHERE entry.user_id = person.id AND (until IS NULL OR entry.created_at < until)
  ))
  WHERE settled.id = person.id
  RETURNING settled.* INTO _person;
  RETURN _person;
END;
$$;

REVOKE ALL ON FUNCTION ledger.settle_balance_lots FROM PUBLIC;
