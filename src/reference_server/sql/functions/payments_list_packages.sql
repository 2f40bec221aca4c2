-- What is for sale now, cheapest first.
CREATE OR REPLACE FUNCTION payments.list_packages() RETURNS JSONB
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(
  jsonb_agg(
    jsonb_build_object(
      'id', package.id,
      'name', package.name,
      'description', coalesce(package.description, ''),
      'credits', package.credits,
      'price_cents', package.price_cents,
      'currency', package.currency,
      'renews_every', package.renews_every,
      'price_id', package.stripe_price_id
    )
    ORDER BY package.price_cents, package.id
  ),
  '[]'
)
FROM public.credit_packages AS package
WHERE package.is_active AND package.stripe_price_id IS NOT NULL
$$;

REVOKE ALL ON FUNCTION payments.list_packages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.list_packages TO credits_app;
