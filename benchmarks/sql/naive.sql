-- The ledger as the source documents describe it and as a team would have written it first: a shared pool
-- row, check and update under FOR UPDATE, errors in words. Kept as the reference that ours is compared with.
CREATE TABLE organization_credit_pools (
  org_id VARCHAR(36) PRIMARY KEY,
  total_credits BIGINT NOT NULL DEFAULT 0,
  allocated_credits BIGINT NOT NULL DEFAULT 0,
  used_credits BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE user_credit_allocations (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id VARCHAR(36) NOT NULL REFERENCES organization_credit_pools,
  user_id VARCHAR(255) NOT NULL,
  allocated_credits BIGINT NOT NULL DEFAULT 0,
  used_credits BIGINT NOT NULL DEFAULT 0,
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  UNIQUE (org_id, user_id)
);

CREATE TABLE credit_usage_attribution (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id VARCHAR(36) NOT NULL REFERENCES organization_credit_pools,
  user_id VARCHAR(255) NOT NULL,
  allocation_id UUID REFERENCES user_credit_allocations,
  credits_used BIGINT NOT NULL,
  service_type VARCHAR(100) NOT NULL,
  service_name VARCHAR(255),
  request_id VARCHAR(255),
  request_metadata JSONB,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX ON credit_usage_attribution (org_id);
CREATE INDEX ON credit_usage_attribution (user_id);
CREATE INDEX ON credit_usage_attribution (service_type);
CREATE INDEX ON credit_usage_attribution (created_at);
CREATE INDEX ON credit_usage_attribution (request_id);

CREATE FUNCTION has_sufficient_credits(p_org_id VARCHAR, p_user_id VARCHAR, p_credits BIGINT)
RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
  v_remaining BIGINT;
BEGIN
  SELECT allocated_credits - used_credits INTO v_remaining
  FROM user_credit_allocations
  WHERE org_id = p_org_id AND user_id = p_user_id AND is_active;
  RETURN COALESCE(v_remaining, 0) >= p_credits;
END;
$$;

CREATE FUNCTION deduct_credits(
  p_org_id VARCHAR, p_user_id VARCHAR, p_credits BIGINT, p_service_type VARCHAR,
  p_service_name VARCHAR DEFAULT NULL, p_request_id VARCHAR DEFAULT NULL, p_metadata JSONB DEFAULT NULL
) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
DECLARE
  v_allocation user_credit_allocations;
BEGIN
  SELECT * INTO v_allocation
  FROM user_credit_allocations
  WHERE org_id = p_org_id AND user_id = p_user_id AND is_active
  FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'No credit allocation found for user % in organization %', p_user_id, p_org_id;
  END IF;
  IF v_allocation.allocated_credits - v_allocation.used_credits < p_credits THEN
    RAISE EXCEPTION 'Insufficient credits: % available, % required',
      v_allocation.allocated_credits - v_allocation.used_credits, p_credits;
  END IF;
  UPDATE user_credit_allocations SET used_credits = used_credits + p_credits WHERE id = v_allocation.id;
  UPDATE organization_credit_pools SET used_credits = used_credits + p_credits WHERE org_id = p_org_id;
  INSERT INTO credit_usage_attribution (
    org_id, user_id, allocation_id, credits_used, service_type, service_name, request_id, request_metadata
  ) VALUES (
    p_org_id, p_user_id, v_allocation.id, p_credits, p_service_type, p_service_name, p_request_id, p_metadata
  );
  RETURN TRUE;
END;
$$;
