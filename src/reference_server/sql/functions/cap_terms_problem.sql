-- What is wrong with a cap that is to be set, or removed (without credits); NULL if nothing is.
CREATE OR REPLACE FUNCTION ledger.cap_terms_problem(scope TEXT, subject TEXT, period TEXT, credits BIGINT)
RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (cap_terms_problem.scope IN ('organization', 'member', 'api_key')) IS NOT TRUE THEN
    RETURN ledger.problem('validation_failed', 'scope must be organization, member or api_key.');
  ELSIF (cap_terms_problem.period IN ('call', 'hour', 'day', 'month')) IS NOT TRUE THEN
    RETURN ledger.problem('validation_failed', 'period must be call, hour, day or month.');
  ELSIF cap_terms_problem.scope = 'organization' AND cap_terms_problem.subject IS NOT NULL THEN
    RETURN ledger.problem('validation_failed', 'subject must be left out: an organisation''s own cap has none.');
  ELSIF
    cap_terms_problem.scope <> 'organization'
    AND (length(cap_terms_problem.subject) BETWEEN 1 AND 255) IS NOT TRUE
  THEN
    RETURN ledger.problem(
      'validation_failed',
      'subject must have 1 to 255 characters: the id of the ' || CASE cap_terms_problem.scope
        WHEN 'member' THEN 'user.'
        ELSE 'API key.'
      END
    );
  ELSIF NOT ledger.is_amount(cap_terms_problem.credits) THEN
    RETURN ledger.amount_problem(cap_terms_problem.credits);
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.cap_terms_problem FROM PUBLIC;
