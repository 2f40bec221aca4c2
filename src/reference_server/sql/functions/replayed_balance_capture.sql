-- A hold captured again, for the same amount or for whatever it was: the first receipt.
CREATE OR REPLACE FUNCTION ledger.replayed_balance_capture(
  hold public.user_credit_holds, person public.users, credits BIGINT
) RETURNS ledger.spending
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _captured CONSTANT BIGINT := hold.captured_credits * 1000;
BEGIN
  IF credits <> _captured THEN
    PERFORM ledger.refuse(ledger.problem('idempotency_conflict', format(
      'The hold %s was captured before, for %s credits.', hold.id, ledger.format_credits(_captured)
    )));
  END IF;
  RETURN ledger.replayed_spending(
    person, _captured, hold.transaction_type, hold.service_type, hold.service_name, hold.request_id
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_balance_capture FROM PUBLIC;
