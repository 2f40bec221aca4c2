-- A charge of a user as it is answered: amounts in millicredits.
CREATE OR REPLACE FUNCTION ledger.spending_row(
  charge public.credits_transactions, person public.users, replayed BOOLEAN
) RETURNS ledger.spending
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    charge.id, NULL, ledger.user_name(person), (-charge.amount * 1000)::BIGINT,
    (charge.balance_after * 1000)::BIGINT, coalesce(charge.service_type, charge.transaction_type),
    charge.service_name, charge.request_id, charge.created_at, replayed
  )::ledger.spending;
END;
$$;

REVOKE ALL ON FUNCTION ledger.spending_row FROM PUBLIC;
