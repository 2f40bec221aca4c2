-- Same request id, same content: the first outcome again. Other content is refused.
-- The row is empty when the id has charged nothing yet. Metadata is annotation: the first one is kept.
CREATE OR REPLACE FUNCTION ledger.replayed_charge(
  org_id TEXT, user_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT, request_id TEXT
) RETURNS ledger.receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _charge public.credit_usage_attribution;
BEGIN
  SELECT charge.* INTO _charge
  FROM public.credit_usage_attribution AS charge
  WHERE charge.org_id = replayed_charge.org_id AND charge.request_id = replayed_charge.request_id;

  IF NOT FOUND THEN
    RETURN NULL;
  ELSIF
    (_charge.user_id, _charge.credits_used, _charge.service_type, _charge.service_name, _charge.refund_of)
    IS DISTINCT FROM (
      replayed_charge.user_id, replayed_charge.credits, replayed_charge.service_type,
      replayed_charge.service_name, NULL::UUID
    )
  THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(replayed_charge.org_id, replayed_charge.request_id));
  END IF;
  RETURN ROW(
    _charge.id, _charge.org_id, _charge.user_id, _charge.credits_used, _charge.remaining_after,
    _charge.service_type, _charge.service_name, _charge.request_id, _charge.created_at, TRUE
  )::ledger.receipt;
END;
$$;

REVOKE ALL ON FUNCTION ledger.replayed_charge FROM PUBLIC;
