-- The queries that indexes exist for, each under the index that is named after it.
-- 'o' and 'u' stand for an organisation and a member, 7 for a user of the user ledger.

-- credit_usage_attribution_pkey
SELECT * FROM credit_usage_attribution WHERE org_id = 'o' AND request_id = 'r';

-- credit_usage_attribution_of_id
SELECT * FROM credit_usage_attribution WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

SELECT * FROM credit_usage_attribution WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca' AND org_id = 'o';

-- credit_usage_attribution_latest_of_org
SELECT service_type, credits_used, created_at
FROM credit_usage_attribution
WHERE org_id = 'o'
ORDER BY created_at DESC LIMIT 10;

SELECT * FROM credit_usage_attribution
WHERE org_id = 'o' AND (created_at, id) < (now(), '01a1fb95-1f71-7022-b497-824d3e7cf0ca')
ORDER BY created_at DESC, id DESC LIMIT 51;

SELECT sum(credits_used) FROM credit_usage_attribution
WHERE org_id = 'o' AND created_at >= now() - INTERVAL '30 days';

-- credit_usage_attribution_latest_of_member
SELECT * FROM credit_usage_attribution
WHERE allocation_id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca'
ORDER BY created_at DESC, id DESC LIMIT 51;

SELECT sum(credits_used) FROM credit_usage_attribution
WHERE allocation_id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca' AND created_at >= now();

-- credit_usage_attribution_refunds_of_charge
SELECT sum(credits_used) FROM credit_usage_attribution
WHERE refund_of = '01a1fb95-1f71-7022-b497-824d3e7cf0ca' AND org_id = 'o';

-- credit_holds_pkey
SELECT * FROM credit_holds WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- credit_holds_one_of_request
SELECT * FROM credit_holds WHERE org_id = 'o' AND request_id = 'r' AND status = 'held';

SELECT * FROM credit_holds
WHERE org_id = 'o' AND request_id = 'r' AND status IN ('held', 'captured');

-- credit_holds_overdue
SELECT * FROM credit_holds WHERE status = 'held' AND expires_at <= now() ORDER BY expires_at LIMIT 9;

SELECT * FROM credit_holds
WHERE status = 'held' AND expires_at <= now() AND org_id = 'o' AND user_id = 'u';

-- credit_holds_of_ended_lots
SELECT * FROM credit_holds WHERE org_id = 'o' AND status = 'held' AND ended_lots IS NOT NULL;

-- user_credit_allocations_org_id_user_id_key
UPDATE user_credit_allocations SET used_credits = used_credits + 1
WHERE org_id = 'o' AND user_id = 'u' AND is_active;

SELECT * FROM user_credit_allocations WHERE org_id = 'o' AND user_id > 'u' ORDER BY user_id LIMIT 9;

-- user_credit_allocations_pkey
SELECT * FROM user_credit_allocations
WHERE org_id = 'o' AND id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- user_credit_allocations_of_user
SELECT org_id FROM user_credit_allocations WHERE user_id = 'u';

-- user_credit_allocations_due
SELECT * FROM user_credit_allocations
WHERE reset_period <> 'never' AND next_reset_date <= now()
ORDER BY next_reset_date LIMIT 9;

-- organization_members_of_user
SELECT org_id FROM organization_members WHERE user_id = 'u';

-- org_billing_history_one_of_request
SELECT * FROM org_billing_history WHERE org_id = 'o' AND request_id = 'r';

-- org_billing_history_pkey
SELECT * FROM org_billing_history WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- org_billing_history_latest_of_org
SELECT * FROM org_billing_history WHERE org_id = 'o' ORDER BY created_at DESC LIMIT 9;

-- organization_subscriptions_pkey
SELECT * FROM organization_subscriptions WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- organization_subscriptions_of_org
SELECT * FROM organization_subscriptions WHERE org_id = 'o' ORDER BY created_at DESC LIMIT 9;

-- organization_subscriptions_one_active_of_org
SELECT * FROM organization_subscriptions WHERE org_id = 'o' AND status = 'active';

-- credit_caps_pkey
SELECT * FROM credit_caps WHERE org_id = 'o' AND (scope, subject) IN (('organization', ''), ('member', 'u'));
-- audit_log_latest_of_org
SELECT * FROM audit_log WHERE org_id = 'o' ORDER BY created_at DESC LIMIT 9;
-- users_pkey
UPDATE users SET credits = credits - 1 WHERE id = 7 AND credits - 1 >= held_credits;

-- users_subject_key
SELECT * FROM users WHERE subject = 'u';

-- users_email_key
SELECT * FROM users WHERE email = 'u';

-- credits_transactions_pkey
SELECT * FROM credits_transactions WHERE id = 7;

-- credits_transactions_user_id_request_id_key
SELECT * FROM credits_transactions WHERE user_id = 7 AND request_id = 'r';

-- credits_transactions_latest_of_user
SELECT * FROM credits_transactions
WHERE user_id = 7 AND (created_at, id) < (now(), 5)
ORDER BY created_at DESC, id DESC LIMIT 51;

SELECT * FROM credits_transactions
WHERE user_id = 7 AND created_at >= now() - INTERVAL '30 days'
ORDER BY created_at DESC LIMIT 10;

-- credits_transactions_refunds_of_charge
SELECT sum(amount) FROM credits_transactions WHERE refund_of = 7;

-- user_credit_holds_pkey
SELECT * FROM user_credit_holds WHERE id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- user_credit_holds_one_of_request
SELECT * FROM user_credit_holds WHERE user_id = 7 AND request_id = 'r' AND status = 'held';

-- user_credit_holds_overdue
SELECT * FROM user_credit_holds WHERE status = 'held' AND expires_at <= now() ORDER BY expires_at LIMIT 9;

SELECT sum(credits) FROM user_credit_holds
WHERE status = 'held' AND expires_at <= now() AND user_id = 7;

-- credit_hold_extensions_of_hold
SELECT max(created_at) FROM credit_hold_extensions
WHERE org_id = 'o' AND hold_id = '01a1fb95-1f71-7022-b497-824d3e7cf0ca' AND created_at <= now();
-- stripe_subscriptions_of_customer
SELECT * FROM stripe_subscriptions WHERE customer_id = 'cus_1';

-- stripe_events_open
SELECT event_id, outcome, detail FROM stripe_events
WHERE outcome IN ('unmatched', 'refused') ORDER BY received_at;

-- stripe_payments_of_source
SELECT payment_id FROM stripe_payments WHERE source_id = 'cs_1';

-- stripe_reversals_of_payment
SELECT sum(amount_cents) FROM stripe_reversals WHERE payment_id = 'pi_1';

-- alert_rules_one_of_figure
SELECT threshold FROM alert_rules WHERE coalesce(org_id, '') = 'o' AND kind = 'pool.low' AND subject = '';

-- credit_alerts_one_open_of_figure
SELECT id FROM credit_alerts
WHERE coalesce(org_id, '') = 'o' AND kind = 'pool.low' AND subject = '' AND cleared_at IS NULL;

-- webhook_endpoints_one_of_request
SELECT id FROM webhook_endpoints WHERE coalesce(org_id, '') = 'o' AND request_id = 'r';

-- webhook_deliveries_due
SELECT id FROM webhook_deliveries
WHERE status = 'pending' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 20;

-- webhook_deliveries_latest_of_org
SELECT * FROM webhook_deliveries WHERE org_id = 'o' ORDER BY created_at DESC LIMIT 9;

-- credit_lots_open_of_org
SELECT * FROM credit_lots WHERE org_id = 'o' AND used_credits + expired_credits < credits;

-- credit_lots_open_of_user
SELECT * FROM credit_lots WHERE user_id = 7 AND used_credits + expired_credits < credits;

-- organizations_lots_due
SELECT id FROM organizations WHERE lots_due_at <= now() ORDER BY lots_due_at LIMIT 9;

-- users_lots_due
SELECT id FROM users WHERE lots_due_at <= now() ORDER BY lots_due_at LIMIT 9;

-- top_ups_of_customer
SELECT sum(price_cents) FROM top_ups WHERE customer_id = 'cus_1' AND created_at >= now() - INTERVAL '30 days';

-- top_ups_one_open_of_customer
SELECT id FROM top_ups WHERE customer_id = 'cus_1' AND status = 'open';

-- cross_app_sessions_of_log_in
UPDATE cross_app_sessions SET revoked_at = now() WHERE log_in = '01a1fb95-1f71-7022-b497-824d3e7cf0ca';

-- cross_app_sessions_of_user
DELETE FROM cross_app_sessions WHERE user_id = 7 AND expires_at < now() - INTERVAL '1 day';
