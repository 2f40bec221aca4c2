-- The packages that are for sale, the cheapest first.
CREATE OR REPLACE FUNCTION identity.list_packages() RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(
  jsonb_agg(
    jsonb_build_object(
      'package_id', p.id,
      'name', p.name,
      'description', p.description,
      'credits', p.credits::TEXT,
      'price_cents', p.price_cents,
      'currency', p.currency,
      'renews_every', p.renews_every
    )
    ORDER BY p.price_cents, p.id
  ),
  '[]'
)
FROM public.credit_packages AS p
WHERE p.is_active
$$;

REVOKE ALL ON FUNCTION identity.list_packages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.list_packages TO credits_app;
