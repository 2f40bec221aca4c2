-- A subscription as it is answered.
CREATE OR REPLACE FUNCTION ledger.subscription_row(
  subscription public.organization_subscriptions
) RETURNS ledger.subscription
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ROW(
    subscription.id, subscription.org_id, subscription.subscription_plan, subscription.monthly_price,
    subscription.billing_cycle, subscription.status, subscription.trial_ends_at,
    subscription.current_period_start, subscription.current_period_end, subscription.canceled_at,
    subscription.created_at, subscription.updated_at
  )::ledger.subscription;
END;
$$;

REVOKE ALL ON FUNCTION ledger.subscription_row FROM PUBLIC;
