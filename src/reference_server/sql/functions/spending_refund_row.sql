-- A refund to a user as it is answered: amounts in millicredits.
CREATE OR REPLACE FUNCTION ledger.spending_refund_row(
  refund public.credits_transactions, person public.users, replayed BOOLEAN
) RETURNS ledger.spending_refund
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    refund.id, refund.refund_of, NULL, ledger.user_name(person), (refund.amount * 1000)::BIGINT,
    (refund.refundable_after * 1000)::BIGINT, (refund.balance_after * 1000)::BIGINT,
    refund.request_id, refund.created_at, replayed
  )::ledger.spending_refund;
END;
$$;

REVOKE ALL ON FUNCTION ledger.spending_refund_row FROM PUBLIC;
