-- Change what is given of a subscription. Another plan without a price costs what that plan costs. A cycle
-- counts from the beginning of the present period; a trial that is made active ends now. What is canceled
-- for the end of its period keeps that end.
CREATE OR REPLACE FUNCTION ledger.update_subscription(
  subscription_id TEXT,
  subscription_plan TEXT DEFAULT NULL,
  monthly_price NUMERIC DEFAULT NULL,
  billing_cycle TEXT DEFAULT NULL,
  status TEXT DEFAULT NULL
) RETURNS ledger.subscription
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _problem CONSTANT JSONB := ledger.subscription_terms_problem(
    update_subscription.subscription_plan,
    update_subscription.monthly_price,
    update_subscription.billing_cycle
  );
  _now TIMESTAMPTZ;
  _before public.organization_subscriptions;
  _subscription public.organization_subscriptions;
BEGIN
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  ELSIF update_subscription.status NOT IN ('active', 'paused', 'past_due') THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'status must be active, paused or past_due.'));
  END IF;
  _before := ledger.lock_subscription(update_subscription.subscription_id);
  _subscription := _before;

  _now := ledger.now();
  IF update_subscription.status = 'active' AND _before.status = 'trialing' THEN
    _subscription.trial_ends_at := _now;
    _subscription.current_period_start := _now;
  END IF;
  _subscription.billing_cycle := coalesce(update_subscription.billing_cycle, _before.billing_cycle);
  _subscription.status := coalesce(update_subscription.status, _before.status);
  IF
    _subscription.status <> 'trialing'
    AND _subscription.canceled_at IS NULL
    AND (_subscription.billing_cycle, _subscription.current_period_start)
    <> (_before.billing_cycle, _before.current_period_start)
  THEN
    _subscription.current_period_end := ledger.end_of_period(
      _subscription.current_period_start, _subscription.billing_cycle,
      coalesce(_subscription.trial_ends_at, _subscription.created_at)
    );
  END IF;

  _subscription.subscription_plan := coalesce(
    update_subscription.subscription_plan, _before.subscription_plan
  );
  _subscription.monthly_price := CASE
    WHEN update_subscription.monthly_price IS NOT NULL THEN update_subscription.monthly_price
    WHEN update_subscription.subscription_plan <> _before.subscription_plan
      THEN ledger.plan_price(update_subscription.subscription_plan)
    ELSE _before.monthly_price
  END;
  BEGIN
    _subscription := ledger.move_subscription(_before, _subscription);
  EXCEPTION
    WHEN unique_violation THEN
      PERFORM ledger.refuse(ledger.subscribed_problem(_before.org_id));
  END;
  RETURN ledger.subscription_row(_subscription);
END;
$$;

REVOKE ALL ON FUNCTION ledger.update_subscription FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.update_subscription TO credits_app;
