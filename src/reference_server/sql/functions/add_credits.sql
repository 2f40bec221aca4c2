-- Invariant: a pool holds the sum of its history, and a request id adds to it once.
-- The pool's lock is taken first: it puts all grants and allocations of the organisation in line, so that
-- what is read under it about request ids and balances stays true.
--
-- With an expiry or a priority, the credits are a lot of their own. Then the organisation's row is locked
-- before the pool, as it is where lots expire.

-- As it was before there were lots.
DROP FUNCTION IF EXISTS ledger.add_credits(TEXT, BIGINT, NUMERIC, TEXT);

CREATE OR REPLACE FUNCTION ledger.add_credits(
  org_id TEXT,
  credits BIGINT,
  purchase_amount NUMERIC DEFAULT 0,
  request_id TEXT DEFAULT NULL,
  expires_at TIMESTAMPTZ DEFAULT NULL,
  expires_in_days INTEGER DEFAULT NULL,
  priority INTEGER DEFAULT NULL
) RETURNS ledger.pool_change
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _request_id CONSTANT TEXT := coalesce(add_credits.request_id, ledger.new_request_id());
  _amount CONSTANT NUMERIC := coalesce(add_credits.purchase_amount, 0);
  _now TIMESTAMPTZ;
  _pool public.credit_pools;
  _event public.org_billing_history;
  _available BIGINT;
  _terms CONSTANT JSONB := ledger.lot_terms(
    add_credits.expires_at, add_credits.expires_in_days, add_credits.priority
  );
BEGIN
  IF ledger.is_amount(add_credits.credits) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.amount_problem(add_credits.credits));
  ELSIF _amount NOT BETWEEN 0 AND 1000000000000 OR _amount <> round(_amount, 2) THEN
    PERFORM ledger.refuse(ledger.problem(
      'validation_failed', 'purchase_amount must be a sum of money in USD that is not negative.'
    ));
  END IF;
  PERFORM ledger.require_open_organization(add_credits.org_id);

  IF _terms IS NOT NULL THEN
    PERFORM FROM public.organizations AS organization WHERE organization.id = add_credits.org_id FOR NO KEY UPDATE;
  END IF;
  INSERT INTO public.credit_pools (org_id) VALUES (add_credits.org_id) ON CONFLICT (org_id) DO NOTHING;
  SELECT pool.* INTO _pool
  FROM public.credit_pools AS pool
  WHERE pool.org_id = add_credits.org_id
  FOR NO KEY UPDATE;

  SELECT event.* INTO _event
  FROM public.org_billing_history AS event
  WHERE event.org_id = add_credits.org_id AND event.request_id = _request_id;
  IF FOUND THEN
    RETURN ledger.replayed_addition(_event, add_credits.credits, _amount, _terms);
  ELSIF _pool.total_credits + add_credits.credits > 1000000000000000 THEN
    PERFORM ledger.refuse(ledger.problem('invalid_amount', format(
      'A pool holds at most 1,000,000,000,000 credits; that of organisation %s has %s.',
      add_credits.org_id, ledger.format_credits(_pool.total_credits)
    )));
  END IF;

  _now := ledger.now();
  IF _terms IS NOT NULL THEN
    PERFORM ledger.add_pool_lot(
      add_credits.org_id,
      add_credits.credits,
      ledger.lot_expiry(add_credits.expires_at, add_credits.expires_in_days, add_credits.priority, _now),
      add_credits.priority,
      _request_id,
      _now
    );
  END IF;
  UPDATE public.credit_pools AS pool
  SET
    total_credits = pool.total_credits + add_credits.credits,
    lifetime_purchased_credits = pool.lifetime_purchased_credits
    + CASE WHEN _amount > 0 THEN add_credits.credits ELSE 0 END,
    lifetime_spent_amount = pool.lifetime_spent_amount + _amount,
    updated_at = _now
  WHERE pool.org_id = add_credits.org_id;
  SELECT pool.available_credits INTO _available
  FROM public.organization_credit_pools AS pool
  WHERE pool.org_id = add_credits.org_id;

  INSERT INTO public.org_billing_history (
    org_id, event_type, amount, credits, request_id, event_metadata, created_at
  )
  VALUES (
    add_credits.org_id,
    CASE WHEN _amount > 0 THEN 'credit_purchase' ELSE 'credit_grant' END,
    _amount,
    add_credits.credits,
    _request_id,
    jsonb_build_object(
      'total_credits', _pool.total_credits + add_credits.credits, 'available_credits', _available
    ) || CASE WHEN _terms IS NULL THEN '{}' ELSE jsonb_build_object('lot', _terms) END,
    _now
  );
  RETURN ROW(
    add_credits.org_id, add_credits.credits, _pool.total_credits + add_credits.credits, _available,
    _request_id, FALSE
  )::ledger.pool_change;
END;
$$;

REVOKE ALL ON FUNCTION ledger.add_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.add_credits TO credits_app;
