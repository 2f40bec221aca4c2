-- A subscription by its own id, or the current one by an organisation's id, which may look like a
-- subscription's. An organisation without one, and one that does not exist, are refused with the same words.
CREATE OR REPLACE FUNCTION ledger.find_subscription(
  subscription_id TEXT
) RETURNS public.organization_subscriptions
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _subscription public.organization_subscriptions;
BEGIN
  IF find_subscription.subscription_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
    SELECT subscription.* INTO _subscription
    FROM public.organization_subscriptions AS subscription
    WHERE subscription.id = find_subscription.subscription_id::UUID;
  END IF;
  IF _subscription.id IS NULL THEN
    _subscription := ledger.current_subscription(find_subscription.subscription_id);
  END IF;
  IF _subscription.id IS NULL THEN
    PERFORM ledger.refuse(ledger.problem(
      'not_found', format('There is no subscription %s here.', find_subscription.subscription_id)
    ));
  END IF;
  RETURN _subscription;
END;
$$;

REVOKE ALL ON FUNCTION ledger.find_subscription FROM PUBLIC;
