-- A database of the first system in use: the tables of the documents with UUID ids, whatever types its team
-- gave the other columns, and what the application has built around them.
CREATE TYPE user_kind AS ENUM ('customer', 'admin', 'service');

CREATE TABLE organizations (
  id ORG_ID PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  plan_tier VARCHAR(50) DEFAULT 'platform',
  max_seats INTEGER,
  status VARCHAR(50) DEFAULT 'active',
  billing_email VARCHAR(255),
  created_at TIMESTAMP DEFAULT now(),
  updated_at TIMESTAMP DEFAULT now()
);
CREATE TABLE organization_members (
  id SERIAL PRIMARY KEY,
  org_id ORG_ID NOT NULL REFERENCES organizations ON DELETE CASCADE,
  user_id VARCHAR(255) NOT NULL,
  role VARCHAR(50) DEFAULT 'member',
  joined_at TIMESTAMP DEFAULT now(),
  badge VARCHAR(20) UNIQUE,
  UNIQUE (org_id, user_id)
);
CREATE TABLE organization_subscriptions (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id ORG_ID NOT NULL REFERENCES organizations ON DELETE CASCADE,
  subscription_plan VARCHAR(50) NOT NULL,
  monthly_price NUMERIC(10, 2) NOT NULL DEFAULT 0,
  billing_cycle VARCHAR(20) DEFAULT 'monthly',
  status VARCHAR(50) DEFAULT 'active',
  current_period_start TIMESTAMPTZ DEFAULT now(),
  current_period_end TIMESTAMPTZ,
  created_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE organization_credit_pools (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id ORG_ID NOT NULL UNIQUE REFERENCES organizations ON DELETE CASCADE,
  total_credits BIGINT NOT NULL DEFAULT 0,
  allocated_credits BIGINT NOT NULL DEFAULT 0,
  used_credits BIGINT NOT NULL DEFAULT 0,
  available_credits BIGINT GENERATED ALWAYS AS (total_credits - allocated_credits) STORED,
  lifetime_purchased_credits BIGINT DEFAULT 0,
  created_at TIMESTAMPTZ DEFAULT now(),
  updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE user_credit_allocations (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id ORG_ID NOT NULL REFERENCES organizations ON DELETE CASCADE,
  user_id VARCHAR(255) NOT NULL,
  allocated_credits BIGINT NOT NULL DEFAULT 0,
  used_credits BIGINT NOT NULL DEFAULT 0,
  remaining_credits BIGINT GENERATED ALWAYS AS (allocated_credits - used_credits) STORED,
  reset_period VARCHAR(20) DEFAULT 'monthly',
  is_active BOOLEAN DEFAULT TRUE,
  created_at TIMESTAMPTZ DEFAULT now(),
  updated_at TIMESTAMPTZ DEFAULT now(),
  UNIQUE (org_id, user_id)
);
CREATE TABLE credit_usage_attribution (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id ORG_ID NOT NULL REFERENCES organizations ON DELETE CASCADE,
  user_id VARCHAR(255) NOT NULL,
  allocation_id UUID REFERENCES user_credit_allocations ON DELETE SET NULL,
  credits_used BIGINT NOT NULL,
  service_type VARCHAR(100) NOT NULL,
  service_name VARCHAR(200),
  api_cost NUMERIC(12, 6) DEFAULT 0,
  markup_applied NUMERIC(12, 6) DEFAULT 0,
  total_cost NUMERIC(12, 6) GENERATED ALWAYS AS (api_cost + markup_applied) STORED,
  request_id VARCHAR(255),
  request_metadata JSONB,
  created_at TIMESTAMPTZ DEFAULT now()
);
CREATE TABLE org_billing_history (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id ORG_ID NOT NULL REFERENCES organizations ON DELETE CASCADE,
  subscription_id UUID REFERENCES organization_subscriptions ON DELETE SET NULL,
  event_type VARCHAR(50) NOT NULL,
  stripe_invoice_id VARCHAR(255),
  amount NUMERIC(12, 2) NOT NULL DEFAULT 0,
  currency VARCHAR(3) DEFAULT 'USD',
  created_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE users (
  id SERIAL PRIMARY KEY,
  email VARCHAR(255) NOT NULL UNIQUE,
  hashed_password VARCHAR(255) NOT NULL,
  credits INTEGER NOT NULL DEFAULT 0,
  user_type user_kind DEFAULT 'customer',
  is_active BOOLEAN DEFAULT TRUE,
  locale VARCHAR(5) NOT NULL DEFAULT 'en'
);
CREATE TABLE credits_transactions (
  id SERIAL PRIMARY KEY,
  user_id INTEGER NOT NULL REFERENCES users,
  amount INTEGER NOT NULL,
  description TEXT,
  transaction_type VARCHAR(50),
  created_at TIMESTAMP DEFAULT now()
);

-- The application's own.
CREATE TABLE print_jobs (id SERIAL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users ON DELETE CASCADE);
CREATE VIEW spending_of_users AS
SELECT user_id, sum(-amount)::BIGINT AS spent FROM credits_transactions WHERE amount < 0 GROUP BY user_id;
CREATE FUNCTION touch() RETURNS TRIGGER LANGUAGE plpgsql AS
$$ BEGIN NEW.updated_at := now(); RETURN NEW; END; $$;
CREATE TRIGGER touch_pools BEFORE UPDATE ON organization_credit_pools FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW org_billing_summary AS
SELECT organization.name, pool.total_credits
FROM organizations AS organization JOIN organization_credit_pools AS pool ON pool.org_id = organization.id;

CREATE FUNCTION has_sufficient_credits(p_org_id ORG_ID, p_user_id VARCHAR, p_credits_needed BIGINT)
RETURNS BOOLEAN LANGUAGE sql AS $$
SELECT coalesce(sum(remaining_credits), 0) >= p_credits_needed
FROM user_credit_allocations WHERE org_id = p_org_id AND user_id = p_user_id AND is_active
$$;
CREATE FUNCTION deduct_credits(
  p_org_id ORG_ID, p_user_id VARCHAR, p_credits_used BIGINT, p_service_type VARCHAR,
  p_service_name VARCHAR DEFAULT NULL, p_request_id VARCHAR DEFAULT NULL, p_request_metadata JSONB DEFAULT NULL
) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
  v_allocation UUID;
BEGIN
  UPDATE user_credit_allocations SET used_credits = used_credits + p_credits_used
  WHERE org_id = p_org_id AND user_id = p_user_id AND remaining_credits >= p_credits_used
  RETURNING id INTO v_allocation;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Insufficient credits';
  END IF;
  UPDATE organization_credit_pools SET used_credits = used_credits + p_credits_used WHERE org_id = p_org_id;
  INSERT INTO credit_usage_attribution (
    org_id, user_id, allocation_id, credits_used, service_type, service_name, request_id, request_metadata
  ) VALUES (
    p_org_id, p_user_id, v_allocation, p_credits_used, p_service_type, p_service_name, p_request_id,
    p_request_metadata
  );
  RETURN TRUE;
END;
$$;

INSERT INTO organizations (id, name, billing_email) VALUES
('11111111-1111-4111-8111-111111111111', 'Acme', 'money@acme.example'),
('22222222-2222-4222-8222-222222222222', 'Globex', NULL);
INSERT INTO organization_members (org_id, user_id, role, badge) VALUES
('11111111-1111-4111-8111-111111111111', 'ada', 'owner', 'A1'),
('11111111-1111-4111-8111-111111111111', 'bob', 'member', 'B2');
INSERT INTO organization_subscriptions (org_id, subscription_plan, monthly_price)
VALUES ('11111111-1111-4111-8111-111111111111', 'platform', 50);
INSERT INTO organization_credit_pools (org_id, total_credits, allocated_credits, lifetime_purchased_credits)
VALUES ('11111111-1111-4111-8111-111111111111', 10000000, 6000000, 10000000);
INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES
('11111111-1111-4111-8111-111111111111', 'ada', 5000000),
('11111111-1111-4111-8111-111111111111', 'bob', 1000000);
SELECT
  deduct_credits('11111111-1111-4111-8111-111111111111', 'ada', 50000, 'company_enrichment', 'v2', 'req_1', '{"n": 1}'),
  deduct_credits('11111111-1111-4111-8111-111111111111', 'ada', 10000, 'contact_lookup'),
  deduct_credits('11111111-1111-4111-8111-111111111111', 'bob', 2000, 'bulk_export', NULL, 'req_2');
INSERT INTO org_billing_history (org_id, subscription_id, event_type, stripe_invoice_id, amount)
SELECT org_id, id, 'invoice_paid', 'in_1', 50 FROM organization_subscriptions;

INSERT INTO users (email, hashed_password, credits, user_type) VALUES
('ann@example.com', 'x', 95, 'customer'), ('root@example.com', 'x', 7, 'admin');
INSERT INTO credits_transactions (user_id, amount, description, transaction_type) VALUES
(1, 100, 'Purchase', 'purchase'), (1, -5, 'Whatnot Autoprint Job', 'service');
INSERT INTO print_jobs (user_id) VALUES (1);
