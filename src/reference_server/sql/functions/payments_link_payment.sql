-- Invariant: a payment pays for one session or invoice.
CREATE OR REPLACE FUNCTION payments.link_payment(payment_id TEXT, source_id TEXT) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _source_id TEXT;
BEGIN
  INSERT INTO public.stripe_payments (payment_id, source_id)
  VALUES (link_payment.payment_id, link_payment.source_id)
  ON CONFLICT (payment_id) DO NOTHING;
  SELECT payment.source_id INTO _source_id
  FROM public.stripe_payments AS payment
  WHERE payment.payment_id = link_payment.payment_id;
  IF _source_id <> link_payment.source_id THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'The payment %s has paid for %s; it does not pay for %s as well.',
      link_payment.payment_id, _source_id, link_payment.source_id
    )));
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION payments.link_payment FROM PUBLIC;
