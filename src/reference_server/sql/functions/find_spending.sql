-- A charge of a user by its id, or by its request id, which is unique for its user. Additions are none.
CREATE OR REPLACE FUNCTION ledger.find_spending(user_id TEXT, transaction_id BIGINT, request_id TEXT)
RETURNS public.credits_transactions
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _user_id BIGINT;
  _charge public.credits_transactions;
BEGIN
  IF (find_spending.transaction_id IS NULL) = (find_spending.request_id IS NULL) THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'Name the charge by transaction_id or by request_id, not both.'
    ));
  ELSIF find_spending.request_id IS NOT NULL AND find_spending.user_id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'A request_id needs its user_id: it is unique for a user.'
    ));
  END IF;
  IF find_spending.user_id IS NOT NULL THEN
    _user_id := (ledger.find_user(find_spending.user_id)).id;
  END IF;

  IF find_spending.transaction_id IS NOT NULL THEN
    SELECT charge.* INTO _charge
    FROM public.credits_transactions AS charge
    WHERE charge.id = find_spending.transaction_id AND (_user_id IS NULL OR charge.user_id = _user_id);
  ELSE
    SELECT charge.* INTO _charge
    FROM public.credits_transactions AS charge
    WHERE charge.user_id = _user_id AND charge.request_id = find_spending.request_id;
  END IF;
  IF _charge.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem('not_found', format(
      'There is no charge %s here.', coalesce(find_spending.transaction_id::TEXT, find_spending.request_id)
    )));
  ELSIF _charge.amount > 0 THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'The transaction %s added credits: there is nothing to refund.', _charge.id
    )));
  END IF;
  RETURN _charge;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_spending FROM PUBLIC;
