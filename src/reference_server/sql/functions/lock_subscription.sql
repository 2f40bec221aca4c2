-- A subscription that is about to change, locked until the transaction ends. One that is canceled stays
-- as it is.
CREATE OR REPLACE FUNCTION ledger.lock_subscription(
  subscription_id TEXT
) RETURNS public.organization_subscriptions
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _subscription public.organization_subscriptions := ledger.find_subscription(lock_subscription.subscription_id);
BEGIN
  SELECT subscription.* INTO _subscription
  FROM public.organization_subscriptions AS subscription
  WHERE subscription.id = _subscription.id AND subscription.org_id = _subscription.org_id
  FOR NO KEY UPDATE;
  IF _subscription.status = 'canceled' THEN
    PERFORM ledger.refuse(ledger.problem(
      'conflict', format('The subscription %s is canceled.', _subscription.id)
    ));
  END IF;
  RETURN _subscription;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_subscription FROM PUBLIC;
