-- The billing screen of an organisation: one statement, so that its figures are of one moment.
CREATE OR REPLACE FUNCTION ledger.get_organization_billing(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(get_organization_billing.org_id);

  SELECT jsonb_build_object(
    'organization', ledger.organization_document(organization),
    'subscription', (
      SELECT to_jsonb(ledger.subscription_row(current))
      FROM ledger.current_subscription(organization.id) AS current
      WHERE current.id IS NOT NULL
    ),
    'credit_pool', (
      SELECT to_jsonb(ledger.get_pool(pool.org_id))
      FROM public.credit_pools AS pool
      WHERE pool.org_id = organization.id
    ),
    'user_allocations', (
      SELECT coalesce(jsonb_agg(to_jsonb(share) ORDER BY share.user_id), '[]')
      FROM (
        SELECT
          allocation.org_id, allocation.user_id, allocation.allocated_credits, allocation.used_credits,
          allocation.held_credits, allocation.remaining_credits, allocation.reset_period,
          allocation.next_reset_date, allocation.is_active, allocation.notes, allocation.updated_at
        FROM public.user_credit_allocations AS allocation
        WHERE allocation.org_id = organization.id
      ) AS share
    ),
    'usage_stats_30_days', ledger.get_usage(organization.id, 30)
  ) INTO document
  FROM public.organizations AS organization
  WHERE organization.id = get_organization_billing.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_organization_billing FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_organization_billing TO credits_app;
