-- Invariant: what counts against a cap never exceeds it. A charge or hold that was just taken is counted,
-- or refused, which undoes it. The caller holds the locks of the caps.
CREATE OR REPLACE FUNCTION ledger.spend_caps(
  org_id TEXT, user_id TEXT, api_key_id TEXT, credits BIGINT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _problem CONSTANT JSONB := ledger.cap_problem(
    spend_caps.org_id, spend_caps.user_id, spend_caps.api_key_id, spend_caps.credits, spend_caps.moment
  );
BEGIN
  IF _problem IS NOT NULL THEN
    PERFORM ledger.refuse(_problem);
  END IF;
  PERFORM ledger.count_against_caps(
    spend_caps.org_id, spend_caps.user_id, spend_caps.api_key_id, spend_caps.credits, spend_caps.moment
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.spend_caps FROM PUBLIC;
