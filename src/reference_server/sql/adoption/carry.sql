-- Carry the first system's rows into the books of version 12, before there are triggers. Every row keeps its
-- id; what the first system did not know is derived, so that `ledger.verify_ledger` finds nothing and every
-- balance is what it was.
-- noqa: disable=aliasing.expression,aliasing.unique.column

INSERT INTO public.organizations (
  id, name, display_name, slug, plan_tier, max_seats, status, created_at, updated_at
)
SELECT
  organization.id,
  organization.name,
  organization.display_name,
  organization.slug,
  coalesce(organization.plan_tier, 'platform'),
  organization.max_seats,
  coalesce(organization.status, 'active'),
  coalesce(organization.created_at, ledger.now()),
  coalesce(organization.updated_at, ledger.now())
FROM old_organizations AS organization;

-- Where the first system had no table of them, an organisation is called by its id.
INSERT INTO public.organizations (id, name)
SELECT DISTINCT
  entry.org_id,
  entry.org_id
FROM old_org_ids AS entry
WHERE NOT EXISTS (
  SELECT FROM public.organizations AS known
  WHERE known.id = entry.org_id
);

INSERT INTO public.organization_members (org_id, user_id, role, is_default, joined_at)
SELECT
  member.org_id,
  member.user_id,
  coalesce(member.role, 'member'),
  coalesce(member.is_default, FALSE),
  coalesce(member.joined_at, ledger.now())
FROM old_organization_members AS member;

INSERT INTO public.organization_members (org_id, user_id)
SELECT
  account.org_id,
  account.user_id
FROM old_accounts AS account
WHERE NOT EXISTS (
  SELECT FROM old_tables AS known
  WHERE known.name = 'organization_members'
);

INSERT INTO public.organization_subscriptions (
  id, org_id, subscription_plan, monthly_price, billing_cycle, status, trial_ends_at, current_period_start,
  current_period_end, canceled_at, stripe_subscription_id, lago_subscription_id, created_at, updated_at
)
SELECT
  subscription.id,
  subscription.org_id,
  subscription.subscription_plan,
  coalesce(subscription.monthly_price, 0),
  coalesce(subscription.billing_cycle, 'monthly'),
  coalesce(subscription.status, 'active'),
  subscription.trial_ends_at,
  coalesce(subscription.current_period_start, subscription.created_at, ledger.now()),
  subscription.current_period_end,
  subscription.canceled_at,
  subscription.stripe_subscription_id,
  subscription.lago_subscription_id,
  coalesce(subscription.created_at, ledger.now()),
  coalesce(subscription.updated_at, ledger.now())
FROM old_organization_subscriptions AS subscription;

-- A reset of the first system took nothing out of the pool, one of ours does: what was used before resets is
-- added to the total, so that what is available stays the same.
INSERT INTO public.credit_pools (
  org_id, total_credits, monthly_refresh_amount, last_refresh_date, next_refresh_date, allow_overage,
  overage_limit, overage_rate, lifetime_purchased_credits, lifetime_spent_amount, created_at, updated_at
)
SELECT
  coalesce(pool.org_id, used.org_id),
  coalesce(pool.total_credits, 0) + coalesce(used.settled_credits, 0),
  coalesce(pool.monthly_refresh_amount, 0),
  pool.last_refresh_date,
  pool.next_refresh_date,
  coalesce(pool.allow_overage, FALSE),
  coalesce(pool.overage_limit, 0),
  coalesce(pool.overage_rate, 0),
  coalesce(pool.lifetime_purchased_credits, 0),
  coalesce(pool.lifetime_spent_amount, 0),
  coalesce(pool.created_at, ledger.now()),
  coalesce(pool.updated_at, ledger.now())
FROM old_organization_credit_pools AS pool
FULL JOIN old_used AS used ON used.org_id = pool.org_id;

INSERT INTO public.user_credit_allocations (
  id, org_id, user_id, allocated_credits, settled_credits, used_credits, is_active, reset_period,
  last_reset_date, next_reset_date, allocated_by, notes, created_at, updated_at
)
SELECT
  allocation.id,
  allocation.org_id,
  allocation.user_id,
  allocation.allocated_credits,
  account.settled_credits,
  allocation.used_credits,
  coalesce(allocation.is_active, TRUE),
  coalesce(allocation.reset_period, 'never'),
  allocation.last_reset_date,
  allocation.next_reset_date,
  allocation.allocated_by,
  allocation.notes,
  coalesce(allocation.created_at, ledger.now()),
  coalesce(allocation.updated_at, ledger.now())
FROM old_user_credit_allocations AS allocation
INNER JOIN old_accounts AS account ON account.id = allocation.id;

-- Charges whose allocation is gone belong to one that is closed.
INSERT INTO public.user_credit_allocations (org_id, user_id, settled_credits, is_active, notes)
SELECT
  account.org_id,
  account.user_id,
  account.settled_credits,
  FALSE,
  'Of charges whose allocation was deleted'
FROM old_accounts AS account
WHERE account.id IS NULL;

-- A replay of an adopted charge answers what is left now: the first system did not write down what was then.
INSERT INTO public.credit_usage_attribution (
  id, org_id, user_id, allocation_id, credits_used, service_type, service_name, api_cost, markup_applied,
  request_id, request_metadata, remaining_after, created_at
)
SELECT
  charge.id,
  charge.org_id,
  charge.user_id,
  allocation.id,
  charge.credits_used,
  charge.service_type,
  charge.service_name,
  charge.api_cost,
  charge.markup_applied,
  coalesce(charge.request_id, 'first-system:' || charge.id),
  coalesce(charge.request_metadata, '{}'),
  allocation.remaining_credits,
  coalesce(charge.created_at, ledger.now())
FROM old_credit_usage_attribution AS charge
INNER JOIN public.user_credit_allocations AS allocation
  ON allocation.org_id = charge.org_id AND allocation.user_id = charge.user_id;

INSERT INTO public.credit_usage_attribution (
  org_id, user_id, allocation_id, credits_used, service_type, request_id, remaining_after
)
SELECT
  account.org_id,
  account.user_id,
  account.id,
  account.opening_credits,
  'opening_balance',
  'opening-balance:' || account.id,
  allocation.remaining_credits
FROM old_accounts AS account
INNER JOIN public.user_credit_allocations AS allocation
  ON allocation.org_id = account.org_id AND allocation.id = account.id
WHERE account.opening_credits > 0;

INSERT INTO public.org_billing_history (
  id, org_id, subscription_id, event_type, amount, currency, payment_status, payment_method, paid_at,
  period_start, period_end, event_metadata, notes, created_at
)
SELECT
  event.id,
  event.org_id,
  event.subscription_id,
  event.event_type,
  coalesce(event.amount, 0),
  coalesce(event.currency, 'USD'),
  event.payment_status,
  event.payment_method,
  event.paid_at,
  event.period_start,
  event.period_end,
  coalesce(event.event_metadata, '{}'),
  event.notes,
  coalesce(event.created_at, ledger.now())
FROM old_org_billing_history AS event;

-- The first system's history has no credits: what the pool holds is its opening balance.
INSERT INTO public.org_billing_history (org_id, event_type, credits, request_id, notes)
SELECT
  pool.org_id,
  'credit_grant',
  pool.total_credits,
  'opening-balance',
  'Opening balance'
FROM public.credit_pools AS pool
WHERE pool.total_credits > 0;

-- Where a user has transactions they are the balance, as in the first system's own query; the cached figure
-- stands only for users without any.
INSERT INTO public.users (id, subject, email, name, password_hash, credits, user_type, is_active, created_at)
WITH entries AS (
  SELECT
    entry.user_id,
    sum(entry.amount) AS balance
  FROM old_credits_transactions AS entry
  GROUP BY entry.user_id
)

SELECT
  person.id,
  person.subject,
  person.email,
  person.name,
  person.password_hash,
  coalesce(entries.balance, person.credits, 0),
  coalesce(person.user_type, 'customer'),
  coalesce(person.is_active, TRUE),
  coalesce(person.created_at, ledger.now())
FROM old_users AS person
LEFT JOIN entries ON entries.user_id = person.id;

INSERT INTO public.credits_transactions (
  id, user_id, amount, balance_after, description, transaction_type, transaction_metadata, service_type,
  service_name, request_id, created_at
)
SELECT
  entry.id,
  entry.user_id,
  entry.amount,
  sum(entry.amount) OVER (PARTITION BY entry.user_id ORDER BY entry.id),
  entry.description,
  coalesce(entry.transaction_type, 'service'),
  coalesce(entry.transaction_metadata, '{}'),
  entry.service_type,
  entry.service_name,
  coalesce(entry.request_id, 'first-system:' || entry.id),
  coalesce(entry.created_at, ledger.now())
FROM old_credits_transactions AS entry;

SELECT setval('public.credits_transactions_id_seq', max(entry.id))
FROM public.credits_transactions AS entry
HAVING max(entry.id) IS NOT NULL;

SELECT setval(pg_get_serial_sequence('public.users', 'id'), max(person.id))
FROM public.users AS person
HAVING max(person.id) IS NOT NULL;

INSERT INTO public.credits_transactions (
  id, user_id, amount, balance_after, description, transaction_type, request_id, created_at
)
SELECT
  nextval('public.credits_transactions_id_seq'),
  person.id,
  person.credits,
  person.credits,
  'Opening balance',
  'credit_addition',
  'opening-balance',
  ledger.now()
FROM public.users AS person
WHERE
  person.credits > 0
  AND NOT EXISTS (
    SELECT FROM public.credits_transactions AS entry
    WHERE entry.user_id = person.id
  );

ANALYZE;
