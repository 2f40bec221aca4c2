-- Invariant: a charge gives back at most what it took. Refunds of a charge are put in line by the lock of
-- its allocation. Without `credits`, what is left of the charge is given back.
CREATE OR REPLACE FUNCTION ledger.refund(
  org_id TEXT DEFAULT NULL,
  charge_id UUID DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  reason TEXT DEFAULT NULL,
  idempotency_key TEXT DEFAULT NULL
) RETURNS ledger.refund_receipt
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _key CONSTANT TEXT := coalesce(refund.idempotency_key, ledger.new_request_id());
  _charge public.credit_usage_attribution;
  _refund public.credit_usage_attribution;
  _refundable BIGINT;
  _credits BIGINT;
  _problem JSONB;
BEGIN
  IF refund.credits IS NOT NULL AND NOT ledger.is_amount(refund.credits) THEN
    PERFORM ledger.refuse(ledger.amount_problem(refund.credits));
  END IF;
  _charge := ledger.find_charge(refund.org_id, refund.charge_id, refund.request_id);

  PERFORM FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = _charge.org_id AND allocation.id = _charge.allocation_id
  FOR NO KEY UPDATE;

  SELECT earlier.* INTO _refund
  FROM public.credit_usage_attribution AS earlier
  WHERE earlier.org_id = _charge.org_id AND earlier.request_id = _key;
  IF FOUND THEN
    RETURN ledger.replayed_refund(_refund, _charge.id, refund.credits);
  END IF;
  -- The charge that an open hold is to become must find its id free.
  _problem := ledger.held_id_problem(_charge.org_id, _key);
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;

  SELECT _charge.credits_used + coalesce(sum(earlier.credits_used), 0)::BIGINT INTO _refundable
  FROM public.credit_usage_attribution AS earlier
  WHERE earlier.refund_of = _charge.id AND earlier.org_id = _charge.org_id;
  _credits := coalesce(refund.credits, _refundable);
  IF _credits > _refundable OR _refundable = 0 THEN
    PERFORM ledger.refuse(ledger.problem(
      'conflict',
      format(
        'Of the charge %s, which took %s credits, %s can be refunded.',
        _charge.id, ledger.format_credits(_charge.credits_used), ledger.format_credits(_refundable)
      ),
      jsonb_build_object('required', refund.credits, 'available', _refundable)
    ));
  END IF;

  WITH account AS (
    UPDATE public.user_credit_allocations AS allocation
    SET used_credits = allocation.used_credits - _credits, updated_at = ledger.now()
    WHERE allocation.org_id = _charge.org_id AND allocation.id = _charge.allocation_id
    RETURNING allocation.id, allocation.remaining_credits, allocation.updated_at
  )
  INSERT INTO public.credit_usage_attribution AS given_back (
    org_id, user_id, allocation_id, credits_used, service_type, service_name,
    request_id, request_metadata, refund_of, remaining_after, refundable_after, created_at
  )
  SELECT
    _charge.org_id, _charge.user_id, account.id, -_credits, _charge.service_type, _charge.service_name,
    _key, jsonb_strip_nulls(jsonb_build_object('reason', refund.reason)),
    _charge.id, account.remaining_credits, _refundable - _credits, account.updated_at
  FROM account
  ON CONFLICT (org_id, request_id) DO NOTHING
  RETURNING given_back.* INTO _refund;
  IF NOT FOUND THEN
    -- Another member used the id at this very moment; the refusal undoes the update.
    PERFORM ledger.refuse(ledger.id_taken_problem(_charge.org_id, _key));
  END IF;
  PERFORM ledger.audit_refund(_refund.org_id, _refund.user_id, jsonb_build_object(
    'user_id', _refund.user_id, 'credits_used', _refund.credits_used, 'refund_of', _refund.refund_of
  ));
  RETURN ledger.refund_row(_refund, replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.refund FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.refund TO credits_app;
