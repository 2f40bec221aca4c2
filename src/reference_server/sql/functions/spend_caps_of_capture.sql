-- A hold counts when it is placed. What is captured of it in time counts there, so that the rest is given
-- back; what is captured beyond it, or after its time, counts when it is captured, or is refused.
-- The caller holds the locks of the caps.
CREATE OR REPLACE FUNCTION ledger.spend_caps_of_capture(
  hold public.credit_holds, captured BIGINT, moment TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _problem JSONB;
BEGIN
  IF moment >= hold.expires_at THEN
    PERFORM ledger.give_back_to_caps(hold, hold.credits);
    PERFORM ledger.spend_caps(hold.org_id, hold.user_id, hold.api_key_id, captured, moment);
  ELSIF captured < hold.credits THEN
    PERFORM ledger.give_back_to_caps(hold, hold.credits - captured);
  ELSIF captured > hold.credits THEN
    _problem := ledger.cap_problem(
      hold.org_id, hold.user_id, hold.api_key_id, captured, moment, own_hold => hold.credits
    );
    IF _problem IS NOT NULL THEN
      PERFORM ledger.refuse(_problem);
    END IF;
    PERFORM ledger.count_against_caps(
      hold.org_id, hold.user_id, hold.api_key_id, captured - hold.credits, moment
    );
  END IF;
END;
$$;

REVOKE ALL ON FUNCTION ledger.spend_caps_of_capture FROM PUBLIC;
