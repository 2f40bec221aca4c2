-- The subscription that an organisation has now; NULL without one. The one that runs or is tried comes
-- before one that is not paid for.
CREATE OR REPLACE FUNCTION ledger.current_subscription(org_id TEXT) RETURNS public.organization_subscriptions
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _subscription public.organization_subscriptions;
BEGIN
  SELECT subscription.* INTO _subscription
  FROM public.organization_subscriptions AS subscription
  WHERE subscription.org_id = current_subscription.org_id
    AND subscription.status IN ('active', 'trialing', 'past_due')
  ORDER BY subscription.status = 'past_due', subscription.created_at DESC
  LIMIT 1;
  RETURN _subscription;
END;
$$;

REVOKE ALL ON FUNCTION ledger.current_subscription FROM PUBLIC;
