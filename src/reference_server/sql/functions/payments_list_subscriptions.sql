-- The subscriptions of a user, or of an organisation when one is named, the latest first.
CREATE OR REPLACE FUNCTION payments.list_subscriptions(user_id TEXT, org_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _customer_id CONSTANT TEXT := payments.find_buyer(
    list_subscriptions.user_id, list_subscriptions.org_id
  ) ->> 'customer_id';
BEGIN
  RETURN (
    SELECT coalesce(
      jsonb_agg(
        jsonb_build_object(
          'id', subscription.subscription_id,
          'package_id', package.id,
          'name', package.name,
          'credits', package.credits,
          'price_id', package.stripe_price_id,
          'amount', package.price_cents,
          'currency', package.currency,
          'interval', package.renews_every,
          'status', subscription.status,
          'current_period_start', subscription.current_period_start,
          'current_period_end', subscription.current_period_end,
          'cancel_at_period_end', subscription.cancel_at_period_end,
          'canceled_at', subscription.canceled_at
        )
        ORDER BY subscription.created_at DESC, subscription.subscription_id
      ),
      '[]'
    )
    FROM public.stripe_subscriptions AS subscription
    LEFT JOIN public.credit_packages AS package ON package.id = subscription.package_id
    WHERE subscription.customer_id = _customer_id
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.list_subscriptions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.list_subscriptions TO credits_app;
