-- A hold as it is answered.
CREATE OR REPLACE FUNCTION ledger.hold_row(hold public.credit_holds, replayed BOOLEAN) RETURNS ledger.hold
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    hold.id, hold.org_id, hold.user_id, hold.credits, hold.captured_credits, hold.status,
    hold.service_type, hold.service_name, hold.request_id, hold.expires_at, hold.created_at, replayed,
    hold.by_payer
  )::ledger.hold;
END;
$$;

REVOKE ALL ON FUNCTION ledger.hold_row FROM PUBLIC;
