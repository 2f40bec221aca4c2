-- All subscriptions that an organisation has and had, the newest first.
CREATE OR REPLACE FUNCTION ledger.list_subscriptions(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(list_subscriptions.org_id);

  SELECT jsonb_build_object(
    'items', coalesce(
      jsonb_agg(
        to_jsonb(ledger.subscription_row(subscription))
        ORDER BY subscription.created_at DESC, subscription.id DESC
      ),
      '[]'
    )
  ) INTO document
  FROM public.organization_subscriptions AS subscription
  WHERE subscription.org_id = list_subscriptions.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.list_subscriptions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.list_subscriptions TO credits_app;
