-- A refund as it is answered.
CREATE OR REPLACE FUNCTION ledger.refund_row(refund public.credit_usage_attribution, replayed BOOLEAN)
RETURNS ledger.refund_receipt
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    refund.id, refund.refund_of, refund.org_id, refund.user_id, -refund.credits_used,
    refund.refundable_after, refund.remaining_after, refund.request_id, refund.created_at, replayed
  )::ledger.refund_receipt;
END;
$$;

REVOKE ALL ON FUNCTION ledger.refund_row FROM PUBLIC;
