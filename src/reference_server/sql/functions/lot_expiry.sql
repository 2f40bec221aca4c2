-- When a lot expires that was asked for so; refuses what cannot be.
CREATE OR REPLACE FUNCTION ledger.lot_expiry(
  expires_at TIMESTAMPTZ, expires_in_days INTEGER, priority INTEGER, moment TIMESTAMPTZ
) RETURNS TIMESTAMPTZ
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF num_nonnulls(expires_at, expires_in_days) = 2 THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'Give expires_at or expires_in_days, not both.'));
  ELSIF expires_at <= moment THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'expires_at must be in the future.'));
  ELSIF expires_in_days NOT BETWEEN 1 AND 36500 THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'expires_in_days must be 1 to 36500.'));
  ELSIF priority NOT BETWEEN 0 AND 1000 THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'priority must be 0 to 1000.'));
  END IF;
  RETURN coalesce(expires_at, moment + make_interval(days => expires_in_days));
END;
$$;

REVOKE ALL ON FUNCTION ledger.lot_expiry FROM PUBLIC;
