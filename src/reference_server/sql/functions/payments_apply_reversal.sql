-- Invariant: a reversal is known from its first event on, also when it comes before the payment's own. The
-- sum of a charge's refunds only grows; a dispute that is closed stays as it was closed.
CREATE OR REPLACE FUNCTION payments.apply_reversal(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _payment_id CONSTANT TEXT := facts ->> 'payment_id';
  _source_id TEXT;
BEGIN
  INSERT INTO public.stripe_reversals AS row (reversal_id, payment_id, kind, amount_cents, is_closed)
  VALUES (
    facts ->> 'reversal_id', _payment_id, facts ->> 'reversal',
    (facts ->> 'amount_cents')::BIGINT, (facts ->> 'is_closed')::BOOLEAN
  )
  ON CONFLICT (reversal_id) DO UPDATE SET
    amount_cents = CASE
      WHEN row.kind = 'refund' THEN greatest(row.amount_cents, excluded.amount_cents)
      WHEN row.is_closed THEN row.amount_cents
      ELSE excluded.amount_cents
    END,
    is_closed = row.is_closed OR excluded.is_closed,
    updated_at = ledger.now();
  SELECT payment.source_id INTO _source_id
  FROM public.stripe_payments AS payment
  WHERE payment.payment_id = _payment_id;
  PERFORM FROM public.stripe_grants AS paid WHERE paid.source_id = _source_id;
  IF NOT FOUND THEN
    RETURN payments.outcome('unmatched', format('The payment %s gave no credits (yet).', _payment_id));
  END IF;
  PERFORM payments.settle(_source_id);
  RETURN payments.outcome('applied');
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_reversal FROM PUBLIC;
