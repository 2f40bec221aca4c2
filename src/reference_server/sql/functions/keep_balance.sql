-- Invariant: `users.credits` is the sum of the user's transactions, and no transaction takes what is not
-- there or is held. Whoever inserts a row, by a function or by hand, the balance changes here and with it.
--
-- The user's row is updated first, which locks it. Under the lock the row gets its id and time, so that
-- both follow the balance, and is held against the ids that were used before: a row with such an id will
-- not come to be (the index refuses it, or ON CONFLICT passes it over), so it moves nothing.
CREATE OR REPLACE FUNCTION ledger.keep_balance() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _person public.users;
  _moved BOOLEAN;
  _is_used BOOLEAN;
  _problem JSONB;
  -- Whether lots that were due have expired: what is left of those is held.
  _expired BOOLEAN := FALSE;
BEGIN
  LOOP
    UPDATE public.users AS person
    SET credits = person.credits + NEW.amount
    WHERE person.id = NEW.user_id
      AND (
        (NEW.amount > 0 AND person.credits + NEW.amount <= 1000000000000)
        OR (
          NEW.amount < 0
          AND person.credits + NEW.amount >= person.held_credits
          -- What was set aside while the user was active can be captured.
          AND (person.is_active OR NEW.hold_id IS NOT NULL OR NEW.transaction_type = 'expiry')
          AND (
            _expired
            OR person.lots_due_at IS NULL
            OR person.lots_due_at > ledger.now()
            OR NEW.transaction_type = 'expiry'
            -- What a capture takes was held when its lot ended; whatever else was due has expired before.
            OR NEW.hold_id IS NOT NULL
          )
        )
      )
    RETURNING person.* INTO _person;
    _moved := FOUND;
    IF NOT _moved THEN
      _person := ledger.lock_user(NEW.user_id);
      _expired := TRUE;
    END IF;
    NEW.id := nextval('public.credits_transactions_id_seq');
    NEW.created_at := coalesce(NEW.created_at, ledger.now());
    NEW.balance_after := coalesce(_person.credits, 0);

    PERFORM FROM public.credits_transactions AS earlier
    WHERE earlier.user_id = NEW.user_id AND earlier.request_id = NEW.request_id;
    _is_used := FOUND;
    _problem := ledger.holding_id_problem(NEW.user_id, NEW.request_id);
    EXIT WHEN _moved AND NOT _is_used AND _problem IS NULL;

    IF _moved THEN
      UPDATE public.users AS person SET credits = person.credits - NEW.amount WHERE person.id = NEW.user_id;
    END IF;
    -- Without a user or an amount, the table's own constraints refuse the row.
    EXIT WHEN _is_used OR _person.id IS NULL OR coalesce(NEW.amount, 0) = 0;
    -- Overdue holds stand in nobody's way, neither with their credits nor with their ids.
    CONTINUE WHEN ledger.expire_balance_holds_of(ARRAY[NEW.user_id]) > 0;
    IF _problem IS NULL AND NEW.amount < 0 THEN
      _problem := ledger.balance_problem(_person, (-NEW.amount * 1000)::BIGINT);
    ELSIF _problem IS NULL AND _person.credits + NEW.amount > 1000000000000 THEN
      _problem := ledger.problem('invalid_amount', format(
        'A balance is at most 1,000,000,000,000 credits; that of user %s is %s.',
        ledger.user_name(_person), ledger.format_credits((_person.credits * 1000)::BIGINT)
      ));
    END IF;
    -- Else somebody made room before this had the lock.
    CONTINUE WHEN _problem IS NULL;
    PERFORM ledger.refuse_transaction(_problem);
  END LOOP;
  RETURN NEW;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_balance FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_balance_on_insert
BEFORE INSERT ON public.credits_transactions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_balance();
