-- The public name of `ledger.place_hold`; amounts are millicredits, refusals are of the class CR.
CREATE OR REPLACE FUNCTION public.hold_credits(
  org_id TEXT,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT NULL,
  ttl_seconds INTEGER DEFAULT 900
) RETURNS ledger.hold
LANGUAGE sql VOLATILE
RETURN ledger.place_hold(
  org_id, user_id, credits, service_type, service_name, request_id, request_metadata, ttl_seconds
);

REVOKE ALL ON FUNCTION public.hold_credits FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.hold_credits TO credits_app;
