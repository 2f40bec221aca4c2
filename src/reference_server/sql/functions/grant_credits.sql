-- Invariant: a request id adds to a user's balance once. `ledger.keep_balance` moves the balance.
-- A user who was switched off gets credits as well: what somebody has paid for must not be lost.
-- With an expiry or a priority, the credits are a lot of their own; the user's row is locked first then.

-- As it was before there were lots.
DROP FUNCTION IF EXISTS ledger.grant_credits(TEXT, BIGINT, TEXT, TEXT, TEXT, TEXT, JSONB);

CREATE OR REPLACE FUNCTION ledger.grant_credits(
  user_id TEXT,
  credits BIGINT,
  description TEXT DEFAULT NULL,
  transaction_type TEXT DEFAULT 'credit_addition',
  admin_id TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT '{}',
  expires_at TIMESTAMPTZ DEFAULT NULL,
  expires_in_days INTEGER DEFAULT NULL,
  priority INTEGER DEFAULT NULL
) RETURNS ledger.credit_grant
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(grant_credits.request_id, ledger.new_request_id());
  _person public.users;
  _grant public.credits_transactions;
  _is_new BOOLEAN;
  _terms CONSTANT JSONB := ledger.lot_terms(
    grant_credits.expires_at, grant_credits.expires_in_days, grant_credits.priority
  );
BEGIN
  IF ledger.is_amount(grant_credits.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(grant_credits.credits));
  ELSIF
    (grant_credits.transaction_type IN ('credit_addition', 'purchase', 'refund', 'subscription')) IS NOT TRUE
  THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'transaction_type must be credit_addition, purchase, refund or subscription.'
    ));
  END IF;
  _person := ledger.find_user(grant_credits.user_id);
  IF _terms IS NOT NULL THEN
    _person := ledger.lock_user(_person.id);
    _person := ledger.settle_balance_lots(_person, ledger.now());
  END IF;

  INSERT INTO public.credits_transactions AS addition (
    user_id, amount, description, transaction_type, transaction_metadata, request_id
  ) VALUES (
    _person.id, grant_credits.credits / 1000.0, grant_credits.description, grant_credits.transaction_type,
    coalesce(grant_credits.request_metadata, '{}')
    || jsonb_strip_nulls(jsonb_build_object('admin_id', grant_credits.admin_id, 'lot', _terms)),
    _request_id
  )
  ON CONFLICT (user_id, request_id) DO NOTHING
  RETURNING addition.* INTO _grant;
  _is_new := FOUND;
  IF NOT _is_new THEN
    SELECT earlier.* INTO _grant
    FROM public.credits_transactions AS earlier
    WHERE earlier.user_id = _person.id AND earlier.request_id = _request_id;
    IF
      (_grant.amount * 1000, _grant.transaction_type, _grant.refund_of, _grant.transaction_metadata -> 'lot')
      IS DISTINCT FROM
      (grant_credits.credits::NUMERIC, grant_credits.transaction_type, NULL::BIGINT, _terms)
    THEN
      PERFORM ledger.refuse(ledger.used_id_problem(_person, _request_id));
    END IF;
  ELSIF _terms IS NOT NULL THEN
    PERFORM ledger.add_balance_lot(
      _grant,
      ledger.lot_expiry(
        grant_credits.expires_at, grant_credits.expires_in_days, grant_credits.priority, ledger.now()
      ),
      grant_credits.priority
    );
  END IF;
  RETURN ROW(
    _grant.id, ledger.user_name(_person), (_grant.amount * 1000)::BIGINT,
    (_grant.balance_after * 1000)::BIGINT, _grant.transaction_type, _grant.description,
    _grant.request_id, _grant.created_at, NOT _is_new
  )::ledger.credit_grant;
END;
$$;

REVOKE ALL ON FUNCTION ledger.grant_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.grant_credits TO credits_app;
