-- A charge by its id, or by its request id, which is unique within its organisation. A refund is none.
CREATE OR REPLACE FUNCTION ledger.find_charge(org_id TEXT, charge_id UUID, request_id TEXT)
RETURNS public.credit_usage_attribution
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _charge public.credit_usage_attribution;
BEGIN
  IF (find_charge.charge_id IS NULL) = (find_charge.request_id IS NULL) THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'Name the charge by charge_id or by request_id, not both.'
    ));
  ELSIF find_charge.charge_id IS NOT NULL THEN
    SELECT charge.* INTO _charge
    FROM public.credit_usage_attribution AS charge
    WHERE charge.id = find_charge.charge_id
      AND (find_charge.org_id IS NULL OR charge.org_id = find_charge.org_id);
  ELSE
    SELECT charge.* INTO _charge
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = find_charge.org_id AND charge.request_id = find_charge.request_id;
  END IF;

  IF _charge.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem('not_found', format(
      'There is no charge %s here.', coalesce(find_charge.charge_id::TEXT, find_charge.request_id)
    )));
  ELSIF _charge.refund_of IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      '%s is a refund itself, which cannot be refunded.', _charge.id
    )));
  END IF;
  RETURN _charge;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_charge FROM PUBLIC;
