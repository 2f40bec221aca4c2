-- Invariant: what was charged stays written, for the owner of the tables as well. Corrections are new rows.
-- The metadata of a charge may leave its row, once they are in the archive.
CREATE OR REPLACE FUNCTION ledger.keep_charges() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- Computed from others, and only after this trigger.
  _leaving CONSTANT TEXT[] := ARRAY['request_metadata', 'total_cost'];
BEGIN
  IF
    TG_OP = 'UPDATE'
    AND NEW.request_metadata IS NULL
    AND to_jsonb(NEW) - _leaving = to_jsonb(OLD) - _leaving
    AND OLD.request_metadata::TEXT = ledger.archived_metadata(OLD.org_id, OLD.id, OLD.created_at)
  THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '% is append-only: % is refused.', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'integrity_constraint_violation';
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_charges FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON credit_usage_attribution
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_charges();
