-- A hold captured again, for the same amount or for whatever it was: the first receipt.
CREATE OR REPLACE FUNCTION ledger.replayed_capture(hold public.credit_holds, credits BIGINT)
RETURNS ledger.receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- What was captured at the end, without the parts that were charged before.
  _captured CONSTANT BIGINT := (
    SELECT charge.credits_used
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = hold.org_id AND charge.request_id = hold.request_id
  );
BEGIN
  IF credits <> _captured THEN
    PERFORM ledger.refuse(ledger.problem('idempotency_conflict', format(
      'The hold %s was captured before, for %s credits.',
      hold.id, ledger.format_credits(_captured)
    )));
  END IF;
  RETURN ledger.replayed_charge(
    hold.org_id, hold.user_id, _captured, hold.service_type, hold.service_name, hold.request_id
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_capture FROM PUBLIC;
