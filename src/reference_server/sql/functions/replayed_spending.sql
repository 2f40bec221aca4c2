-- Same request id, same content: the first outcome again. Other content is refused.
-- The row is empty when the id has charged nothing yet. Description and metadata are annotation: the
-- first ones are kept.
CREATE OR REPLACE FUNCTION ledger.replayed_spending(
  person public.users,
  credits BIGINT,
  transaction_type TEXT,
  service_type TEXT,
  service_name TEXT,
  request_id TEXT
) RETURNS ledger.spending
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _charge public.credits_transactions;
BEGIN
  SELECT charge.* INTO _charge
  FROM public.credits_transactions AS charge
  WHERE charge.user_id = person.id AND charge.request_id = replayed_spending.request_id;

  IF NOT FOUND THEN
    RETURN NULL;
  ELSIF
    (-_charge.amount * 1000, _charge.transaction_type, _charge.service_type, _charge.service_name)
    IS DISTINCT FROM (
      replayed_spending.credits::NUMERIC, replayed_spending.transaction_type,
      replayed_spending.service_type, replayed_spending.service_name
    )
  THEN
    PERFORM ledger.refuse(ledger.used_id_problem(person, replayed_spending.request_id));
  END IF;
  RETURN ledger.spending_row(_charge, person, replayed => TRUE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_spending FROM PUBLIC;
