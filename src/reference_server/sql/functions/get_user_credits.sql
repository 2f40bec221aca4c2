-- A user's standing in all their organisations, in the order in which one of them pays by default: active
-- ones before suspended ones, the user's default first, then by joining. Deleted ones are left out. An
-- allocation without membership counts as a plain member's while it is active: whoever has left has none.
-- Nobody is unknown: a user in no organisation has an empty list. Organisations that live in another database
-- are that one's to tell.
CREATE OR REPLACE FUNCTION ledger.get_user_credits(user_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  SELECT jsonb_build_object(
    'user_id', get_user_credits.user_id,
    'user_email', (
      SELECT person.email FROM public.users AS person WHERE person.subject = get_user_credits.user_id
    ),
    'has_balance', EXISTS (
      SELECT FROM public.users AS person
      WHERE CASE
        WHEN get_user_credits.user_id ~ '^[0-9]{1,18}$' THEN person.id = get_user_credits.user_id::BIGINT
        ELSE person.subject = get_user_credits.user_id
      END
    ),
    'organizations', coalesce(
      jsonb_agg(
        jsonb_build_object(
          'org_id', organization.id,
          'org_name', organization.name,
          'role', coalesce(member.role, 'member'),
          'is_default', coalesce(member.is_default, FALSE),
          'joined_at', coalesce(member.joined_at, allocation.created_at),
          'subscription_plan', subscription.subscription_plan,
          'monthly_price', subscription.monthly_price,
          'allocated_credits', coalesce(allocation.allocated_credits, 0),
          'used_credits', coalesce(allocation.used_credits, 0),
          'held_credits', coalesce(allocation.held_credits, 0),
          'remaining_credits', coalesce(allocation.remaining_credits, 0),
          'has_allocation', coalesce(allocation.is_active, FALSE)
        )
        ORDER BY
          organization.status = 'active' DESC,
          coalesce(member.is_default, FALSE) DESC,
          coalesce(member.joined_at, allocation.created_at),
          organization.id
      ),
      '[]'
    )
  ) INTO document
  FROM (
    SELECT org_id FROM public.organization_members WHERE user_id = get_user_credits.user_id
    UNION
    SELECT org_id FROM public.user_credit_allocations WHERE user_id = get_user_credits.user_id AND is_active
  ) AS standing
  INNER JOIN public.organizations AS organization
    ON organization.id = standing.org_id
      AND organization.status <> 'deleted'
      AND NOT ledger.is_elsewhere(organization.id)
  LEFT JOIN public.organization_members AS member
    ON member.org_id = standing.org_id AND member.user_id = get_user_credits.user_id
  LEFT JOIN public.user_credit_allocations AS allocation
    ON allocation.org_id = standing.org_id AND allocation.user_id = get_user_credits.user_id
  LEFT JOIN LATERAL (
    SELECT current.subscription_plan, current.monthly_price
    FROM public.organization_subscriptions AS current
    WHERE current.org_id = standing.org_id AND current.status IN ('active', 'trialing', 'past_due')
    ORDER BY current.status = 'active' DESC, current.created_at DESC
    LIMIT 1
  ) AS subscription ON TRUE;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_user_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_user_credits TO credits_app;
