-- A hold of a user's credits as it is answered: amounts in millicredits.
CREATE OR REPLACE FUNCTION ledger.balance_hold_row(
  hold public.user_credit_holds, person public.users, replayed BOOLEAN
) RETURNS ledger.hold
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    hold.id, NULL, ledger.user_name(person), (hold.credits * 1000)::BIGINT,
    (hold.captured_credits * 1000)::BIGINT, hold.status, hold.service_type, hold.service_name,
    hold.request_id, hold.expires_at, hold.created_at, replayed, hold.by_payer
  )::ledger.hold;
END;
$$;

REVOKE ALL ON FUNCTION ledger.balance_hold_row FROM PUBLIC;
