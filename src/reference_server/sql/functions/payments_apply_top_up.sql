-- Invariant: a top-up gives its credits once, when it is paid in full, in its currency and by its customer.
-- Which one it is says what was written down of the payment; where whoever asked for it died before, what the
-- payment was told when it was asked for. Also one that was given up is given when it was paid after all. A
-- payment that names a top-up of another payment or customer gives nothing, and is shown to a person.
CREATE OR REPLACE FUNCTION payments.apply_top_up(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _payment_id CONSTANT TEXT := facts ->> 'intent_id';
  _top_up public.top_ups;
BEGIN
  UPDATE public.top_ups AS row
  SET payment_id = _payment_id, updated_at = ledger.now()
  WHERE row.id = (facts ->> 'top_up_id')::UUID
    AND row.customer_id = facts ->> 'customer_id'
    AND row.payment_id IS NULL
    AND NOT EXISTS (SELECT FROM public.top_ups AS other WHERE other.payment_id = _payment_id);
  SELECT row.* INTO _top_up FROM public.top_ups AS row WHERE row.payment_id = _payment_id FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM FROM public.top_ups AS row WHERE row.id = (facts ->> 'top_up_id')::UUID;
    IF FOUND THEN
      RETURN payments.outcome('unmatched', format(
        'The payment %s names the top-up %s, but is not its payment.', _payment_id, facts ->> 'top_up_id'
      ));
    END IF;
    -- Of a checkout, which has events of its own; or a top-up whose payment is not written down yet.
    IF payments.may_be_top_up(facts ->> 'customer_id') THEN
      RETURN payments.outcome('refused', format('The payment %s may be of an open top-up.', _payment_id));
    END IF;
    RETURN payments.outcome('kept', format('The payment %s is of no top-up.', _payment_id));
  ELSIF
    (_top_up.customer_id, _top_up.currency::TEXT)
    IS DISTINCT FROM (facts ->> 'customer_id', facts ->> 'currency')
    OR coalesce((facts ->> 'amount_cents')::BIGINT, 0) < _top_up.price_cents
  THEN
    RETURN payments.outcome('refused', format('The payment %s is not what was asked for.', _payment_id));
  END IF;
  UPDATE public.top_ups AS row SET status = 'paid', updated_at = ledger.now() WHERE row.id = _top_up.id;
  UPDATE public.top_up_settings AS setting
  SET failures = 0, updated_at = ledger.now()
  WHERE setting.customer_id = _top_up.customer_id AND setting.is_active AND setting.failures > 0;
  RETURN payments.grant_once(
    facts || jsonb_build_object(
      'source_id', 'top_up_' || _top_up.id,
      'package_id', _top_up.package_id,
      'credits', _top_up.credits,
      'payment_ids', jsonb_build_array(_payment_id),
      'transaction_type', 'purchase'
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_top_up FROM PUBLIC;
