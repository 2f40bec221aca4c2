-- A request id for callers that bring none.
CREATE OR REPLACE FUNCTION ledger.new_request_id() RETURNS TEXT
LANGUAGE sql VOLATILE
RETURN 'req_' || replace(gen_random_uuid()::TEXT, '-', '');

REVOKE ALL ON FUNCTION ledger.new_request_id FROM PUBLIC;
