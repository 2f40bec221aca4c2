-- What a charge may be called in `credits_transactions`; the other types name additions.
CREATE OR REPLACE FUNCTION ledger.require_spending_type(transaction_type TEXT) RETURNS VOID
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (transaction_type IN ('service', 'subscription')) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'transaction_type must be service or subscription for a charge.'
    ));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_spending_type FROM PUBLIC;
