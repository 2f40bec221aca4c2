-- What is wrong with the terms of a subscription; NULL if nothing is. Terms that are NULL are not asked for.
CREATE OR REPLACE FUNCTION ledger.subscription_terms_problem(
  subscription_plan TEXT, monthly_price NUMERIC, billing_cycle TEXT
) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF
    subscription_terms_problem.subscription_plan IS NOT NULL
    AND ledger.plan_price(subscription_terms_problem.subscription_plan) IS NULL
  THEN
    RETURN ledger.problem('validation_failed', 'subscription_plan must be platform, byok or hybrid.');
  ELSIF
    -- The most that a column of money a month keeps.
    subscription_terms_problem.monthly_price NOT BETWEEN 0 AND 9999999999.99
    OR subscription_terms_problem.monthly_price <> round(subscription_terms_problem.monthly_price, 2)
  THEN
    RETURN ledger.problem(
      'validation_failed', 'monthly_price must be a sum of money in USD from 0 to 9,999,999,999.99.'
    );
  ELSIF subscription_terms_problem.billing_cycle NOT IN ('monthly', 'yearly', 'custom') THEN
    RETURN ledger.problem('validation_failed', 'billing_cycle must be monthly, yearly or custom.');
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.subscription_terms_problem FROM PUBLIC;
