-- A refusal for lack of credits names the limit that was hit, what was required and what there was.
CREATE OR REPLACE FUNCTION ledger.insufficient_problem(
  "limit" TEXT,
  org_id TEXT,
  user_id TEXT,
  required BIGINT,
  available BIGINT,
  resets_at TIMESTAMPTZ DEFAULT NULL
) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  -- An administrator may lower an allocation below what is used: then nothing is available.
  _available CONSTANT BIGINT := greatest(available, 0);
BEGIN
  RETURN ledger.problem(
    'insufficient_credits',
    format(
      'Insufficient credits: %s required, %s available in ' || CASE insufficient_problem."limit"
        WHEN 'pool' THEN 'the pool of organisation %4$s.'
        WHEN 'hold' THEN 'the hold and the allocation of user %3$s in organisation %4$s.'
        WHEN 'overage' THEN 'the allocation of user %3$s in organisation %4$s, overage included.'
        ELSE 'the allocation of user %3$s in organisation %4$s.'
      END,
      ledger.format_credits(required), ledger.format_credits(_available), user_id, org_id
    ),
    jsonb_build_object(
      'limit', insufficient_problem."limit",
      'required', required,
      'available', _available,
      'resets_at', resets_at
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.insufficient_problem FROM PUBLIC;
