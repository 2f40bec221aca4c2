-- Invariant: of a payment's credits, the share that went back in money is taken back or owed, never more
-- than all of them. The share follows from the reversals, so their order and number do not matter; when
-- a dispute is won, what was owed is forgiven first and what was taken is given again.
CREATE OR REPLACE FUNCTION payments.settle(source_id TEXT) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _paid public.stripe_grants;
  _reversed BIGINT;
  _change NUMERIC;
  _taken NUMERIC := 0;
  _owed NUMERIC;
BEGIN
  SELECT row.* INTO _paid FROM public.stripe_grants AS row WHERE row.source_id = settle.source_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT least(coalesce(sum(reversal.amount_cents), 0), _paid.amount_cents) INTO _reversed
  FROM public.stripe_payments AS payment
  INNER JOIN public.stripe_reversals AS reversal ON reversal.payment_id = payment.payment_id
  WHERE payment.source_id = _paid.source_id;
  _change := round(_paid.credits * _reversed / _paid.amount_cents, 3)
  - _paid.taken_back_credits - _paid.owed_credits;

  IF _change > 0 THEN
    _taken := payments.take_back(_paid, _change);
    _owed := _change - _taken;
  ELSE
    _owed := -least(_paid.owed_credits, -_change);
    _taken := _change - _owed;
    IF _taken < 0 THEN
      PERFORM payments.give(_paid, -_taken, 'refund');
    END IF;
  END IF;
  UPDATE public.stripe_grants AS row
  SET
    taken_back_credits = row.taken_back_credits + _taken,
    owed_credits = row.owed_credits + _owed,
    updated_at = ledger.now()
  WHERE row.source_id = _paid.source_id AND _change <> 0;
  -- What was delivered before its payment is applied now.
  UPDATE public.stripe_events AS event
  SET outcome = 'applied', detail = NULL, updated_at = ledger.now()
  FROM public.stripe_payments AS payment
  WHERE payment.source_id = _paid.source_id
    AND event.payment_id = payment.payment_id
    AND event.outcome = 'unmatched';
END;
$$;

REVOKE ALL ON FUNCTION payments.settle FROM PUBLIC;
