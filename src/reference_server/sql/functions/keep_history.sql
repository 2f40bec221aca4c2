-- Invariant: what has happened stays written, for the owner of the tables as well. Corrections are new rows.
CREATE OR REPLACE FUNCTION ledger.keep_history() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused.', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'integrity_constraint_violation';
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_history FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON credit_usage_archive
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON credit_usage_archive
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON credit_usage_attribution
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON org_billing_history
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON org_billing_history
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON credit_holds
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON credits_transactions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON credits_transactions
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON user_credit_holds
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON ledger_chain
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON ledger_chain
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON credit_hold_extensions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON credit_hold_extensions
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_rows
BEFORE UPDATE OR DELETE ON user_credit_hold_extensions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_history();

CREATE OR REPLACE TRIGGER keep_history_of_table
BEFORE TRUNCATE ON user_credit_hold_extensions
FOR EACH STATEMENT
EXECUTE FUNCTION ledger.keep_history();
