-- The billing screen of the whole system. What is earned comes from active subscriptions: a trial, and a
-- subscription that is paused or not paid for, earn nothing. Deleted organisations are left out of the
-- list, not out of the sums.
CREATE OR REPLACE FUNCTION ledger.get_system_billing(OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _since CONSTANT TIMESTAMPTZ := ledger.now() - INTERVAL '30 days';
BEGIN
  WITH plan AS (
    SELECT
      subscription.subscription_plan,
      count(*) AS subscriptions,
      sum(subscription.monthly_price) AS monthly_revenue
    FROM public.organization_subscriptions AS subscription
    WHERE subscription.status = 'active'
    GROUP BY subscription.subscription_plan
  ), line AS (
    SELECT
      organization.id AS org_id,
      organization.name AS org_name,
      organization.status,
      current.subscription_plan,
      current.monthly_price,
      (
        SELECT count(*) FROM public.organization_members AS member WHERE member.org_id = organization.id
      ) AS members,
      coalesce(pool.total_credits, 0) AS total_credits,
      coalesce(pool.used_credits, 0) AS used_credits,
      coalesce(pool.available_credits, 0) AS available_credits
    FROM public.organizations AS organization
    LEFT JOIN public.organization_credit_pools AS pool ON pool.org_id = organization.id
    LEFT JOIN LATERAL ledger.current_subscription(organization.id) AS current ON TRUE
    WHERE organization.status <> 'deleted'
  ), top AS (
    -- Organisation by organisation, so that the index leads to the rows of these days and past all others.
    SELECT organization.id AS org_id, organization.name AS org_name, total.credits_used, total.charges
    FROM public.organizations AS organization
    CROSS JOIN LATERAL (
      SELECT
        sum(charge.credits_used)::BIGINT AS credits_used,
        count(*) FILTER (WHERE charge.refund_of IS NULL) AS charges
      FROM public.credit_usage_attribution AS charge
      WHERE charge.org_id = organization.id AND charge.created_at >= _since
    ) AS total
    WHERE total.credits_used IS NOT NULL
    ORDER BY total.credits_used DESC, organization.id
    LIMIT 10
  )
  SELECT jsonb_build_object(
    'organizations', (
      SELECT coalesce(jsonb_agg(to_jsonb(line) ORDER BY line.org_name, line.org_id), '[]') FROM line
    ),
    'revenue_metrics', (
      SELECT jsonb_build_object(
        'total_mrr', coalesce(sum(plan.monthly_revenue), 0),
        'total_arr', coalesce(sum(plan.monthly_revenue), 0) * 12,
        'active_subscriptions', coalesce(sum(plan.subscriptions), 0)
      )
      FROM plan
    ),
    'subscription_distribution', (
      SELECT coalesce(
        jsonb_agg(to_jsonb(plan) ORDER BY plan.subscriptions DESC, plan.subscription_plan), '[]'
      )
      FROM plan
    ),
    'top_organizations_by_usage', (
      SELECT coalesce(jsonb_agg(to_jsonb(top) ORDER BY top.credits_used DESC, top.org_id), '[]') FROM top
    )
  ) INTO document;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_system_billing FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_system_billing TO credits_app;
