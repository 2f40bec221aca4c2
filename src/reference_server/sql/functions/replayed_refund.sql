-- Same key, same charge, same amount (or whatever was left): the first refund again.
CREATE OR REPLACE FUNCTION ledger.replayed_refund(
  refund public.credit_usage_attribution, charge_id UUID, credits BIGINT
) RETURNS ledger.refund_receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF refund.refund_of IS DISTINCT FROM charge_id OR -refund.credits_used <> credits THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(refund.org_id, refund.request_id));
  END IF;
  RETURN ledger.refund_row(refund, replayed => TRUE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_refund FROM PUBLIC;
