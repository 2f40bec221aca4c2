-- Invariant: a charge gives back at most what it took. Refunds of a charge are put in line by the lock of
-- its user's row. Without `credits`, what is left of the charge is given back.
CREATE OR REPLACE FUNCTION ledger.refund_spending(
  user_id TEXT DEFAULT NULL,
  transaction_id BIGINT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  credits BIGINT DEFAULT NULL,
  reason TEXT DEFAULT NULL,
  idempotency_key TEXT DEFAULT NULL
) RETURNS ledger.spending_refund
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _key CONSTANT TEXT := coalesce(refund_spending.idempotency_key, ledger.new_request_id());
  _charge public.credits_transactions;
  _refund public.credits_transactions;
  _person public.users;
  _refundable BIGINT;
  _credits BIGINT;
BEGIN
  IF refund_spending.credits IS NOT NULL AND NOT ledger.is_amount(refund_spending.credits) THEN
    PERFORM ledger.refuse(ledger.amount_problem(refund_spending.credits));
  END IF;
  _charge := ledger.find_spending(
    refund_spending.user_id, refund_spending.transaction_id, refund_spending.request_id
  );
  _person := ledger.lock_user(_charge.user_id);

  SELECT earlier.* INTO _refund
  FROM public.credits_transactions AS earlier
  WHERE earlier.user_id = _person.id AND earlier.request_id = _key;
  IF FOUND THEN
    IF
      _refund.refund_of IS DISTINCT FROM _charge.id
      OR _refund.amount * 1000 <> refund_spending.credits
    THEN
      PERFORM ledger.refuse(ledger.used_id_problem(_person, _key));
    END IF;
    RETURN ledger.spending_refund_row(_refund, _person, replayed => TRUE);
  END IF;

  SELECT ((-_charge.amount - coalesce(sum(earlier.amount), 0)) * 1000)::BIGINT INTO _refundable
  FROM public.credits_transactions AS earlier
  WHERE earlier.refund_of = _charge.id;
  _credits := coalesce(refund_spending.credits, _refundable);
  IF _credits > _refundable OR _refundable = 0 THEN
    PERFORM ledger.refuse(ledger.problem(
      'conflict',
      format(
        'Of the charge %s, which took %s credits, %s can be refunded.',
        _charge.id, ledger.format_credits((-_charge.amount * 1000)::BIGINT),
        ledger.format_credits(_refundable)
      ),
      jsonb_build_object('required', refund_spending.credits, 'available', _refundable)
    ));
  END IF;

  INSERT INTO public.credits_transactions AS given_back (
    user_id, amount, description, transaction_type, service_type, service_name,
    transaction_metadata, request_id, refund_of, refundable_after
  ) VALUES (
    _person.id, _credits / 1000.0, refund_spending.reason, 'refund',
    _charge.service_type, _charge.service_name,
    jsonb_strip_nulls(jsonb_build_object('reason', refund_spending.reason)),
    _key, _charge.id, (_refundable - _credits) / 1000.0
  ) RETURNING given_back.* INTO _refund;
  PERFORM ledger.audit_refund(NULL, _refund.user_id::TEXT, jsonb_build_object(
    'user_id', _refund.user_id, 'amount', _refund.amount, 'refund_of', _refund.refund_of
  ));
  RETURN ledger.spending_refund_row(_refund, _person, replayed => FALSE);
END;
$$;

REVOKE ALL ON FUNCTION ledger.refund_spending FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.refund_spending TO credits_app;
