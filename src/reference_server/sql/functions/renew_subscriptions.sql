-- What the end of a period brings to subscriptions, once for all the periods that have passed: those that
-- were canceled for it end, trials become active, the periods of active ones move on. What a payment
-- provider keeps moves on when the provider says so. Rows that are busy are left to the next run.
DROP FUNCTION IF EXISTS ledger.renew_subscriptions(INTEGER); -- what it answers has grown

CREATE FUNCTION ledger.renew_subscriptions(
  "limit" INTEGER DEFAULT 1000, OUT ended INTEGER, OUT renewed INTEGER
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _subscription public.organization_subscriptions;
  _anchor TIMESTAMPTZ;
BEGIN
  ended := 0;
  renewed := 0;
  FOR _subscription IN
    SELECT subscription.*
    FROM public.organization_subscriptions AS subscription
    WHERE subscription.status <> 'canceled'
      AND NOT ledger.is_elsewhere(subscription.org_id)
      AND CASE
        WHEN subscription.canceled_at IS NOT NULL THEN subscription.current_period_end <= _now
        WHEN subscription.stripe_subscription_id IS NOT NULL THEN FALSE
        WHEN subscription.lago_subscription_id IS NOT NULL THEN FALSE
        WHEN subscription.status = 'trialing' THEN subscription.trial_ends_at <= _now
        WHEN subscription.status = 'active' AND subscription.billing_cycle <> 'custom'
          THEN subscription.current_period_end <= _now
      END
    ORDER BY subscription.id
    LIMIT renew_subscriptions."limit"
    FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    IF _subscription.canceled_at IS NOT NULL THEN
      _subscription.status := 'canceled';
      ended := ended + 1;
    ELSE
      _anchor := coalesce(_subscription.trial_ends_at, _subscription.created_at);
      IF _subscription.status = 'trialing' THEN
        _subscription.current_period_end := _subscription.trial_ends_at;
      END IF;
      _subscription.status := 'active';
      WHILE _subscription.current_period_end <= _now LOOP
        _subscription.current_period_start := _subscription.current_period_end;
        _subscription.current_period_end := ledger.end_of_period(
          _subscription.current_period_start, _subscription.billing_cycle, _anchor
        );
      END LOOP;
      renewed := renewed + 1;
    END IF;

    UPDATE public.organization_subscriptions AS subscription
    SET
      status = _subscription.status,
      current_period_start = _subscription.current_period_start,
      current_period_end = _subscription.current_period_end,
      updated_at = _now
    WHERE subscription.id = _subscription.id AND subscription.org_id = _subscription.org_id;
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.renew_subscriptions FROM PUBLIC;
