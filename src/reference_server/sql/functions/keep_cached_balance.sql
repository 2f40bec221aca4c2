-- Invariant: `users.credits` follows from `credits_transactions`, for the owner of the tables as well. A
-- user who is inserted with credits begins with a transaction; afterwards the column is not for writing.
-- The ledger's own updates come out of a trigger, at which these do not look.
CREATE OR REPLACE FUNCTION ledger.keep_cached_balance() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'users.credits follows from credits_transactions: user % keeps the balance.', OLD.id
      USING
        ERRCODE = 'integrity_constraint_violation',
        HINT = 'Insert into credits_transactions instead: a positive amount adds, a negative one takes.';
  END IF;
  UPDATE public.users AS person SET credits = 0 WHERE person.id = NEW.id;
  INSERT INTO public.credits_transactions (user_id, amount, description, transaction_type, request_id)
  VALUES (NEW.id, NEW.credits, 'Opening balance', 'credit_addition', 'opening-balance');
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_cached_balance FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_cached_balance_on_insert
AFTER INSERT ON public.users
FOR EACH ROW
WHEN (new.credits <> 0)
EXECUTE FUNCTION ledger.keep_cached_balance();

CREATE OR REPLACE TRIGGER keep_cached_balance_on_update
BEFORE UPDATE OF credits ON public.users
FOR EACH ROW
WHEN (new.credits <> old.credits AND pg_trigger_depth() = 0)
EXECUTE FUNCTION ledger.keep_cached_balance();
