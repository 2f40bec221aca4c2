-- Give a subscription, which the caller has locked and read as `subscription`, the terms of `wanted`. The
-- history says by the price whether another plan is an upgrade; another price of the same plan is no event.
CREATE OR REPLACE FUNCTION ledger.move_subscription(
  subscription public.organization_subscriptions, wanted public.organization_subscriptions
) RETURNS public.organization_subscriptions
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _moved public.organization_subscriptions;
BEGIN
  UPDATE public.organization_subscriptions AS row
  SET
    subscription_plan = wanted.subscription_plan,
    monthly_price = wanted.monthly_price,
    billing_cycle = wanted.billing_cycle,
    status = wanted.status,
    trial_ends_at = wanted.trial_ends_at,
    current_period_start = wanted.current_period_start,
    current_period_end = wanted.current_period_end,
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
