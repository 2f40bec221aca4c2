-- Invariant: an organisation has one subscription that runs or is tried, at most: the unique index
-- `organization_subscriptions_one_active_of_org` decides, whoever asks at the same moment.
-- Without a price the plan's own counts. A trial is the first period; what is paid for begins after it.
CREATE OR REPLACE FUNCTION ledger.create_subscription(
  org_id TEXT,
  subscription_plan TEXT,
  monthly_price NUMERIC DEFAULT NULL,
  billing_cycle TEXT DEFAULT 'monthly',
  trial_days INTEGER DEFAULT 0
) RETURNS ledger.subscription
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _cycle CONSTANT TEXT := coalesce(create_subscription.billing_cycle, 'monthly');
  _trial_days CONSTANT INTEGER := coalesce(create_subscription.trial_days, 0);
  _problem CONSTANT JSONB := ledger.subscription_terms_problem(
    coalesce(create_subscription.subscription_plan, ''), create_subscription.monthly_price, _cycle
  );
  _now TIMESTAMPTZ;
  _trial_ends_at TIMESTAMPTZ;
  _subscription public.organization_subscriptions;
BEGIN
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  ELSIF _trial_days NOT BETWEEN 0 AND 365 THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'trial_days must be 0 to 365.'));
  END IF;
  PERFORM ledger.require_open_organization(create_subscription.org_id);

  _now := ledger.now();
  IF _trial_days > 0 THEN
    _trial_ends_at := _now + _trial_days * INTERVAL '24 hours';
  END IF;
  INSERT INTO public.organization_subscriptions AS subscription (
    org_id, subscription_plan, monthly_price, billing_cycle, status, trial_ends_at,
    current_period_start, current_period_end, created_at, updated_at
  )
  VALUES (
    create_subscription.org_id,
    create_subscription.subscription_plan,
    coalesce(create_subscription.monthly_price, ledger.plan_price(create_subscription.subscription_plan)),
    _cycle,
    CASE WHEN _trial_days > 0 THEN 'trialing' ELSE 'active' END,
    _trial_ends_at,
    _now,
    coalesce(_trial_ends_at, ledger.end_of_period(_now, _cycle, _now)),
    _now,
    _now
  )
  ON CONFLICT (org_id) WHERE status IN ('active', 'trialing') DO NOTHING
  RETURNING subscription.* INTO _subscription;
  IF NOT FOUND THEN
    PERFORM ledger.refuse(ledger.subscribed_problem(create_subscription.org_id));
  END IF;

  INSERT INTO public.credit_pools (org_id) VALUES (create_subscription.org_id) ON CONFLICT (org_id) DO NOTHING;
  PERFORM ledger.note_subscription(
    _subscription, 'subscription_created', jsonb_build_object('trial_ends_at', _trial_ends_at)
  );
  RETURN ledger.subscription_row(_subscription);
END;
$$;

REVOKE ALL ON FUNCTION ledger.create_subscription FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.create_subscription TO credits_app;
