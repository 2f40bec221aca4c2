-- Invariant: holds go held -> captured | voided | expired, and expired -> captured; while they are held,
-- their credits and their time may change, if what they set aside at first stays known. Nothing else about
-- them changes, and none is deleted. The condition is the trigger's, so a proper change runs no function.
CREATE OR REPLACE FUNCTION ledger.keep_hold_history() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'The hold % is %: it can be neither changed so nor deleted.', OLD.id, OLD.status
    USING ERRCODE = 'integrity_constraint_violation';
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_hold_history FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_hold_history_on_update
AFTER UPDATE ON credit_holds
FOR EACH ROW
WHEN (
  old.status IN ('captured', 'voided')
  OR (old.status = 'expired' AND new.status <> 'captured')
  OR (new.id, new.org_id, new.user_id, new.request_id, new.api_key_id, new.by_payer)
  IS DISTINCT FROM (old.id, old.org_id, old.user_id, old.request_id, old.api_key_id, old.by_payer)
  OR (
    (new.credits, new.placed_credits, new.counted_at)
    IS DISTINCT FROM (old.credits, old.placed_credits, old.counted_at)
    AND (
      new.status <> 'held' OR new.placed_credits IS DISTINCT FROM coalesce(old.placed_credits, old.credits)
    )
  )
)
EXECUTE FUNCTION ledger.keep_hold_history();

CREATE OR REPLACE TRIGGER keep_hold_history_on_delete
BEFORE DELETE ON credit_holds
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_hold_history();

CREATE OR REPLACE TRIGGER keep_hold_history_on_update
AFTER UPDATE ON user_credit_holds
FOR EACH ROW
WHEN (
  old.status IN ('captured', 'voided')
  OR (old.status = 'expired' AND new.status <> 'captured')
  OR (new.id, new.user_id, new.request_id, new.by_payer)
  IS DISTINCT FROM (old.id, old.user_id, old.request_id, old.by_payer)
  OR (
    (new.credits, new.placed_credits) IS DISTINCT FROM (old.credits, old.placed_credits)
    AND (
      new.status <> 'held' OR new.placed_credits IS DISTINCT FROM coalesce(old.placed_credits, old.credits)
    )
  )
)
EXECUTE FUNCTION ledger.keep_hold_history();

CREATE OR REPLACE TRIGGER keep_hold_history_on_delete
BEFORE DELETE ON user_credit_holds
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_hold_history();
