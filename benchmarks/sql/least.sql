-- The least that a charge can be: the balance is taken from if it suffices, and the charge is written under its
-- request id. No time, no holds, no caps, no lots, no replay, nothing to list charges by.
CREATE TABLE least_allocations (
  org_id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  allocated_credits BIGINT NOT NULL,
  used_credits BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (org_id, user_id)
) WITH (fillfactor = 50);

CREATE TABLE least_charges (
  org_id VARCHAR(36) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  credits_used BIGINT NOT NULL,
  service_type VARCHAR(100) NOT NULL,
  request_id VARCHAR(255) NOT NULL,
  PRIMARY KEY (org_id, request_id)
);

CREATE FUNCTION least_charge(
  p_org_id VARCHAR, p_user_id VARCHAR, p_credits BIGINT, p_service_type VARCHAR, p_request_id VARCHAR
) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
  UPDATE least_allocations SET used_credits = used_credits + p_credits
  WHERE org_id = p_org_id AND user_id = p_user_id AND used_credits + p_credits <= allocated_credits;
  IF FOUND THEN
    INSERT INTO least_charges (org_id, user_id, credits_used, service_type, request_id)
    VALUES (p_org_id, p_user_id, p_credits, p_service_type, p_request_id);
  END IF;
  RETURN FOUND;
END;
$$;

INSERT INTO least_allocations (org_id, user_id, allocated_credits)
SELECT org_id, user_id, allocated_credits FROM user_credit_allocations;
