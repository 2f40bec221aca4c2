-- What became of an event, and why.
CREATE OR REPLACE FUNCTION payments.outcome(outcome TEXT, detail TEXT DEFAULT NULL) RETURNS JSONB
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_object('outcome', outcome, 'detail', detail);

REVOKE ALL ON FUNCTION payments.outcome FROM PUBLIC;
