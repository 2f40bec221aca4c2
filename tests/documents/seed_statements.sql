-- Every SQL statement of the source documents, word for word, each under the document that it comes from.
-- `ORG_UUID` and `TEST_ORG_UUID` are what the documents write for an id.

-- loopnet-quick-start.md: check credits
SELECT has_sufficient_credits($1, $2, $3)

-- loopnet-quick-start.md: deduct credits
SELECT deduct_credits($1, $2, $3, $4, $5, $6, $7::jsonb)

-- loopnet-quick-start.md: check user credits
  SELECT user_id, allocated_credits, used_credits, remaining_credits
  FROM user_credit_allocations
  WHERE org_id = 'ORG_UUID';

-- loopnet-quick-start.md: view recent usage
  SELECT service_type, credits_used, created_at
  FROM credit_usage_attribution
  WHERE org_id = 'ORG_UUID'
  ORDER BY created_at DESC LIMIT 10;

-- loopnet-integration-summary.md: check credits
SELECT has_sufficient_credits($1, $2, $3)

-- loopnet-integration-summary.md: deduct credits
SELECT deduct_credits($1, $2, $3, $4, $5, $6, $7::jsonb)

-- loopnet-integration-summary.md: view user allocations
  SELECT user_id, allocated_credits, used_credits, remaining_credits
  FROM user_credit_allocations
  WHERE org_id = 'TEST_ORG_UUID';

-- loopnet-integration-summary.md: view recent credit usage
  SELECT service_type, credits_used, request_metadata->>'company_id',
         created_at
  FROM credit_usage_attribution
  WHERE org_id = 'TEST_ORG_UUID'
  ORDER BY created_at DESC LIMIT 10;

-- org-billing-deployment-summary.md: create test organization
INSERT INTO organizations (id, name, created_at, updated_at)
VALUES ('test-org-001', 'Test Organization', NOW(), NOW());

-- org-billing-llm-integration.md: verification query
SELECT 'Total Credits' as metric, total_credits / 1000.0 as value
FROM organization_credit_pools WHERE org_id = 'test-org-llm-001'
UNION ALL
SELECT 'User Allocation', allocated_credits / 1000.0
FROM user_credit_allocations
WHERE org_id = 'test-org-llm-001' AND user_id = '2d30c892-5140-48e9-87fa-899cbeb6c2fb'
UNION ALL
SELECT 'User Remaining', (allocated_credits - used_credits) / 1000.0
FROM user_credit_allocations
WHERE org_id = 'test-org-llm-001' AND user_id = '2d30c892-5140-48e9-87fa-899cbeb6c2fb';

-- org-billing-llm-integration.md: total LLM usage by organization
SELECT org_id, SUM(credits_used) / 1000.0 as total_credits
FROM credit_usage_attribution
WHERE service_type = 'llm_inference'
GROUP BY org_id;

-- org-billing-llm-integration.md: usage by model
SELECT request_metadata->>'model' as model,
       COUNT(*) as requests,
       SUM(credits_used) / 1000.0 as total_credits
FROM credit_usage_attribution
WHERE service_type = 'llm_inference'
GROUP BY model
ORDER BY total_credits DESC;

-- org-billing-llm-integration.md: user's LLM usage in last 30 days
SELECT
    user_id,
    request_metadata->>'model' as model,
    COUNT(*) as requests,
    SUM(credits_used) / 1000.0 as credits_spent
FROM credit_usage_attribution
WHERE service_type = 'llm_inference'
  AND created_at >= NOW() - INTERVAL '30 days'
GROUP BY user_id, model;

-- org-billing-llm-integration.md: check user's remaining credits
SELECT
    allocated_credits / 1000.0 as allocated,
    used_credits / 1000.0 as used,
    (allocated_credits - used_credits) / 1000.0 as remaining
FROM user_credit_allocations
WHERE org_id = 'test-org-llm-001'
  AND user_id = '2d30c892-5140-48e9-87fa-899cbeb6c2fb';

-- org-billing-llm-integration.md: check usage attribution
SELECT
    service_name,
    credits_used / 1000.0 as credits,
    request_metadata
FROM credit_usage_attribution
WHERE org_id = 'test-org-llm-001'
ORDER BY created_at DESC
LIMIT 10;

-- org-billing-llm-integration.md: temporarily reduce allocation to trigger error
UPDATE user_credit_allocations
SET allocated_credits = 0
WHERE org_id = 'test-org-llm-001'
  AND user_id = '2d30c892-5140-48e9-87fa-899cbeb6c2fb';

-- org-billing-llm-integration.md: restore allocation
UPDATE user_credit_allocations
SET allocated_credits = 5000000
WHERE org_id = 'test-org-llm-001'
  AND user_id = '2d30c892-5140-48e9-87fa-899cbeb6c2fb';

-- whatnot-autoprint-integration-guide.md: get user credit balance
                SELECT COALESCE(SUM(amount), 0) 
                FROM credits_transactions 
                WHERE user_id = :user_id

-- whatnot-autoprint-integration-guide.md: consume credits
                INSERT INTO credits_transactions 
                (user_id, amount, description, transaction_type, created_at)
                VALUES (:user_id, :amount, :description, 'service', NOW())
