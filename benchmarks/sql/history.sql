-- Books with a history of `rows` charges, as they would be had each been charged: 20 organisations of five
-- members, in turn, 10,000 charges in every 30 days. The latest are of today, so that all ranges hold the
-- same whatever the history; what is longer reaches further back. The setting `history.rows` says how many.
INSERT INTO organizations (id, name) SELECT 'org-' || n, 'org-' || n FROM generate_series(0, 19) AS n;

INSERT INTO organization_members (org_id, user_id)
SELECT 'org-' || n % 20, 'user-' || n / 20 FROM generate_series(0, 99) AS n;

INSERT INTO user_credit_allocations (org_id, user_id)
SELECT member.org_id, member.user_id FROM organization_members AS member;

INSERT INTO credit_usage_attribution (
  org_id, user_id, allocation_id, credits_used, service_type, request_id, request_metadata, remaining_after,
  created_at
)
SELECT
  allocation.org_id, allocation.user_id, allocation.id, 1000 + n % 1000,
  (ARRAY['company_enrichment', 'contact_lookup', 'valuation', 'export'])[1 + n % 4],
  'old_' || lpad(n::TEXT, 12, '0'), '{"batch": "nightly"}', 1000000000000,
  ledger.now() - (current_setting('history.rows')::BIGINT - n) * INTERVAL '30 days' / 10000
FROM generate_series(1, current_setting('history.rows')::BIGINT) AS n
INNER JOIN user_credit_allocations AS allocation
  ON allocation.org_id = 'org-' || n % 20 AND allocation.user_id = 'user-' || n / 20 % 5
ORDER BY n;

SELECT ledger.add_credits(organization.id, 1000000000000, request_id => 'plenty')
FROM organizations AS organization;

SELECT ledger.allocate(member.org_id, member.user_id, 100000000000, request_id => 'plenty-' || member.user_id)
FROM organization_members AS member;

UPDATE user_credit_allocations AS allocation
SET settled_credits = past.credits
FROM (
  SELECT charge.allocation_id, sum(charge.credits_used)::BIGINT AS credits
  FROM credit_usage_attribution AS charge
  GROUP BY charge.allocation_id
) AS past
WHERE past.allocation_id = allocation.id;
