-- What somebody sets out to buy, written down before Stripe hears of it. Answers its id.
CREATE OR REPLACE FUNCTION payments.open_checkout(customer_id TEXT, package_id TEXT) RETURNS UUID
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO public.stripe_checkouts (customer_id, package_id, mode, credits, price_cents, currency)
SELECT
  open_checkout.customer_id,
  package.id,
  CASE WHEN package.renews_every IS NULL THEN 'payment' ELSE 'subscription' END,
  package.credits,
  package.price_cents,
  package.currency
FROM public.credit_packages AS package
WHERE package.id = open_checkout.package_id
RETURNING id
$$;

REVOKE ALL ON FUNCTION payments.open_checkout FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.open_checkout TO credits_app;
