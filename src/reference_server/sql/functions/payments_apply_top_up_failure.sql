-- Stripe tells that a payment failed: if it is of a top-up, that has failed. Told before the payment is
-- written down, it is refused, and sent again by Stripe.
CREATE OR REPLACE FUNCTION payments.apply_top_up_failure(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _top_up_id UUID;
BEGIN
  SELECT row.id INTO _top_up_id FROM public.top_ups AS row WHERE row.payment_id = facts ->> 'intent_id';
  IF _top_up_id IS NULL AND payments.may_be_top_up(facts ->> 'customer_id') THEN
    RETURN payments.outcome(
      'refused', format('The payment %s may be of an open top-up.', facts ->> 'intent_id')
    );
  ELSIF _top_up_id IS NULL THEN
    RETURN payments.outcome('kept', 'The payment is of no top-up.');
  END IF;
  PERFORM payments.fail_top_up(_top_up_id, coalesce(facts ->> 'reason', 'payment_failed'));
  RETURN payments.outcome('applied');
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_top_up_failure FROM PUBLIC;
