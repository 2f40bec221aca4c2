-- What a history is read by, each explained by the benchmark of growth.
--
-- replay
SELECT * FROM credit_usage_attribution
WHERE org_id = 'org-1' AND request_id = 'old_000000000101';

-- last 50 of an organisation
SELECT * FROM credit_usage_attribution WHERE org_id = 'org-1' ORDER BY created_at DESC, id DESC LIMIT 51;

-- last 50 of a member
SELECT * FROM credit_usage_attribution
WHERE allocation_id = (SELECT id FROM user_credit_allocations WHERE org_id = 'org-1' AND user_id = 'user-1')
ORDER BY created_at DESC, id DESC LIMIT 51;

-- usage over 30 days
SELECT sum(credits_used) FROM credit_usage_attribution
WHERE org_id = 'org-1' AND created_at >= now() - INTERVAL '30 days';
