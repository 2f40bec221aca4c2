-- Invariant: a subscription is canceled once, and its history says so once. At the end of the period,
-- `ledger.renew_subscriptions` ends it; until then it can still be ended at once. A period without an end
-- ends at once.
CREATE OR REPLACE FUNCTION ledger.cancel_subscription(
  subscription_id TEXT, at_period_end BOOLEAN DEFAULT FALSE
) RETURNS ledger.subscription
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _later BOOLEAN;
  _before public.organization_subscriptions;
  _subscription public.organization_subscriptions;
BEGIN
  _before := ledger.lock_subscription(cancel_subscription.subscription_id);
  _later := coalesce(cancel_subscription.at_period_end, FALSE) AND _before.current_period_end IS NOT NULL;
  IF _later AND _before.canceled_at IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.problem(
      'conflict', format('The subscription %s ends with its period already.', _before.id)
    ));
  END IF;

  UPDATE public.organization_subscriptions AS subscription
  SET
    status = CASE WHEN _later THEN subscription.status ELSE 'canceled' END,
    canceled_at = coalesce(subscription.canceled_at, ledger.now()),
    updated_at = ledger.now()
  WHERE subscription.id = _before.id AND subscription.org_id = _before.org_id
  RETURNING subscription.* INTO _subscription;

  IF _before.canceled_at IS NULL THEN
    PERFORM ledger.note_subscription(
      _subscription, 'subscription_canceled', jsonb_build_object('at_period_end', _later)
    );
  END IF;
  RETURN ledger.subscription_row(_subscription);
END;
$$;

REVOKE ALL ON FUNCTION ledger.cancel_subscription FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.cancel_subscription TO credits_app;
