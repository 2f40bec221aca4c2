-- A refusal as a value: the fields of a problem body, and the SQLSTATE that stands for its code.
-- The figures `required` and `available` are millicredits. Figures that are NULL are left out.
CREATE OR REPLACE FUNCTION ledger.problem(code TEXT, detail TEXT, figures JSONB DEFAULT '{}') RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _known CONSTANT JSONB := '{
    "invalid_amount":       ["CR400", 400],
    "invalid_token":        ["CR401", 401],
    "token_expired":        ["CR401", 401],
    "insufficient_credits": ["CR402", 402],
    "no_allocation":        ["CR403", 403],
    "not_a_member":         ["CR413", 403],
    "not_found":            ["CR404", 404],
    "conflict":             ["CR408", 409],
    "idempotency_conflict": ["CR409", 409],
    "hold_closed":          ["CR410", 410],
    "hold_expired":         ["CR411", 410],
    "validation_failed":    ["CR422", 422],
    "unavailable":          ["CR503", 503]
  }';
BEGIN
  RETURN jsonb_build_object(
    'code', problem.code,
    'sqlstate', _known -> problem.code ->> 0,
    'status', _known -> problem.code -> 1,
    'detail', problem.detail
  ) || jsonb_strip_nulls(problem.figures);
END;
$$;

REVOKE ALL ON FUNCTION ledger.problem FROM PUBLIC;
