-- Which payment paid an invoice: newer versions of Stripe's API say it in an event of its own.
CREATE OR REPLACE FUNCTION payments.apply_payment(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM payments.link_payment(facts ->> 'payment_id', facts ->> 'invoice_id');
  PERFORM payments.settle(facts ->> 'invoice_id');
  RETURN payments.outcome('applied');
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_payment FROM PUBLIC;
