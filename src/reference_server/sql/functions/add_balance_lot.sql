-- A new lot of a user, whose row the caller has locked, and whose spending was written down before.
CREATE OR REPLACE FUNCTION ledger.add_balance_lot(
  addition public.credits_transactions, expires_at TIMESTAMPTZ, priority INTEGER
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO public.credit_lots (user_id, credits, priority, expires_at, request_id, created_at, updated_at)
  VALUES (
    addition.user_id, (addition.amount * 1000)::BIGINT, coalesce(add_balance_lot.priority, 100),
    add_balance_lot.expires_at, addition.request_id, ledger.now(), ledger.now()
  );
  UPDATE public.users AS person
  SET lots_due_at = least(person.lots_due_at, add_balance_lot.expires_at)
  WHERE person.id = addition.user_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.add_balance_lot FROM PUBLIC;
