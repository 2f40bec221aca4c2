-- A subscription by its own id, or an organisation's current one by the organisation's.
CREATE OR REPLACE FUNCTION ledger.get_subscription(subscription_id TEXT) RETURNS ledger.subscription
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ledger.subscription_row(ledger.find_subscription(get_subscription.subscription_id));
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_subscription FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_subscription TO credits_app;
