-- Why a hold cannot be given this: more credits, more time or both; NULL when nothing speaks against it.
CREATE OR REPLACE FUNCTION ledger.extension_problem(
  hold_id UUID, status TEXT, credits BIGINT, ttl_seconds INTEGER
) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF credits IS NOT NULL AND NOT ledger.is_amount(credits) THEN
    RETURN ledger.amount_problem(credits);
  ELSIF ttl_seconds NOT BETWEEN 1 AND 86400 THEN
    RETURN ledger.problem('validation_failed', 'ttl_seconds must be 1 to 86400.');
  ELSIF credits IS NULL AND ttl_seconds IS NULL THEN
    RETURN ledger.problem('validation_failed', 'Give credits, ttl_seconds or both.');
  ELSIF status = 'expired' THEN
    RETURN ledger.problem('hold_expired', format('The hold %s has expired.', hold_id));
  ELSIF status <> 'held' THEN
    RETURN ledger.problem('hold_closed', format('The hold %s was %s.', hold_id, status));
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.extension_problem FROM PUBLIC;
