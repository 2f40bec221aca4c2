-- Give a subscription, which the caller has locked, another plan and price. The history says by the price
-- whether another plan is an upgrade; another price of the same plan is no event.
CREATE OR REPLACE FUNCTION ledger.move_subscription(
  subscription public.organization_subscriptions, new_plan TEXT, new_price NUMERIC
) RETURNS public.organization_subscriptions
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _moved organization_subscriptions;
BEGIN
  UPDATE organization_subscriptions AS row
  SET
    subscription_plan = move_subscription.new_plan,
    monthly_price = move_subscription.new_price,
    updated_at = ledger.now()
  WHERE row.id = subscription.id AND row.org_id = subscription.org_id
  RETURNING row.* INTO _moved;

  IF _moved.subscription_plan <> subscription.subscription_plan THEN
    PERFORM ledger.note_subscription(
      _moved,
      CASE
        WHEN _moved.monthly_price > subscription.monthly_price THEN 'subscription_upgraded'
        ELSE 'subscription_downgraded'
      END,
      jsonb_build_object(
        'previous_plan', subscription.subscription_plan, 'previous_price', subscription.monthly_price
      )
    );
  END IF;
  RETURN _moved;
END;
$$;

REVOKE ALL ON FUNCTION ledger.move_subscription FROM PUBLIC;
