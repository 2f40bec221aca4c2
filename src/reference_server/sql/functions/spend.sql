-- Invariant: a request id charges a user once. One statement, in which `ledger.keep_balance` decides and
-- moves the balance; what is left over is an id that charged before (replay or conflict).
CREATE OR REPLACE FUNCTION ledger.spend(
  user_id TEXT,
  credits BIGINT,
  description TEXT DEFAULT NULL,
  transaction_type TEXT DEFAULT 'service',
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}',
  service_type TEXT DEFAULT 'service',
  service_name TEXT DEFAULT NULL
) RETURNS ledger.spending
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(spend.request_id, ledger.new_request_id());
  _person public.users;
  _charge public.credits_transactions;
BEGIN
  IF ledger.is_amount(spend.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(spend.credits));
  END IF;
  PERFORM ledger.require_spending_type(spend.transaction_type);
  _person := ledger.find_user(spend.user_id);

  INSERT INTO public.credits_transactions AS charge (
    user_id, amount, description, transaction_type, service_type, service_name,
    transaction_metadata, request_id
  ) VALUES (
    _person.id, -spend.credits / 1000.0, spend.description, spend.transaction_type,
    spend.service_type, spend.service_name, coalesce(spend.request_metadata, '{}'), _request_id
  )
  ON CONFLICT (user_id, request_id) DO NOTHING
  RETURNING charge.* INTO _charge;
  IF FOUND THEN
    RETURN ledger.spending_row(_charge, _person, replayed => FALSE);
  END IF;
  RETURN ledger.replayed_spending(
    _person, spend.credits, spend.transaction_type, spend.service_type, spend.service_name, _request_id
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.spend FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.spend TO credits_app;
