-- Write into the history what became of a subscription. The amount is what a period of it costs.
CREATE OR REPLACE FUNCTION ledger.note_subscription(
  subscription public.organization_subscriptions, event_type TEXT, details JSONB DEFAULT '{}'
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO public.org_billing_history (
    org_id, subscription_id, event_type, amount, period_start, period_end, event_metadata, created_at
  )
  VALUES (
    subscription.org_id,
    subscription.id,
    note_subscription.event_type,
    subscription.monthly_price * coalesce(ledger.months_of_cycle(subscription.billing_cycle), 1),
    subscription.current_period_start,
    subscription.current_period_end,
    jsonb_build_object(
      'subscription_plan', subscription.subscription_plan,
      'monthly_price', subscription.monthly_price,
      'billing_cycle', subscription.billing_cycle
    ) || jsonb_strip_nulls(note_subscription.details),
    subscription.updated_at
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.note_subscription FROM PUBLIC;
