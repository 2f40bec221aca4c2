-- When an organisation's credits, or those of a member's allocation, run out: see `ledger.forecast`.
CREATE OR REPLACE FUNCTION ledger.get_forecast(
  org_id TEXT, user_id TEXT DEFAULT NULL, days INTEGER DEFAULT 30
) RETURNS ledger.forecast
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (get_forecast.days BETWEEN 1 AND 366) IS NOT TRUE THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'days must be 1 to 366.'));
  END IF;
  PERFORM ledger.require_organization(get_forecast.org_id);
  RETURN ledger.forecast(get_forecast.org_id, get_forecast.user_id, get_forecast.days);
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_forecast FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_forecast TO credits_app;
