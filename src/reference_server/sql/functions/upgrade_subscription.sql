-- Move to another plan at that plan's own price.
CREATE OR REPLACE FUNCTION ledger.upgrade_subscription(
  subscription_id TEXT, new_plan TEXT
) RETURNS ledger.subscription
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _price CONSTANT NUMERIC := ledger.plan_price(upgrade_subscription.new_plan);
  _subscription public.organization_subscriptions;
  _wanted public.organization_subscriptions;
BEGIN
  IF _price IS NULL THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'new_plan must be platform, byok or hybrid.'));
  END IF;
  _subscription := ledger.lock_subscription(upgrade_subscription.subscription_id);
  IF _subscription.subscription_plan = upgrade_subscription.new_plan THEN
    PERFORM ledger.refuse(ledger.problem('conflict', format(
      'The subscription %s is to the plan %s already.', _subscription.id, upgrade_subscription.new_plan
    )));
  END IF;
  _wanted := _subscription;
  _wanted.subscription_plan := upgrade_subscription.new_plan;
  _wanted.monthly_price := _price;
  RETURN ledger.subscription_row(ledger.move_subscription(_subscription, _wanted));
END;
$$;

REVOKE ALL ON FUNCTION ledger.upgrade_subscription FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.upgrade_subscription TO credits_app;
