-- The plans there are, and what they cost in USD a month. NULL for what is no plan.
CREATE OR REPLACE FUNCTION ledger.plan_price(subscription_plan TEXT) RETURNS NUMERIC
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE plan_price.subscription_plan
  WHEN 'byok' THEN 30.00
  WHEN 'platform' THEN 50.00
  WHEN 'hybrid' THEN 99.00
END;

REVOKE ALL ON FUNCTION ledger.plan_price FROM PUBLIC;
