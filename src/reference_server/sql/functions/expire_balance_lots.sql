-- What is left of a user's lots when they expire leaves the balance, once: see `ledger.expire_pool_lots`. The
-- caller has locked the user's row. Answers how many lots lost something.
CREATE OR REPLACE FUNCTION ledger.expire_balance_lots(person public.users) RETURNS INTEGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _person public.users := person;
  _ends_at TIMESTAMPTZ;
  _lot RECORD;
  _keeps BIGINT;
  _expired INTEGER := 0;
BEGIN
  -- Holds past their time keep nothing.
  PERFORM ledger.expire_balance_holds_of(ARRAY[person.id]);
  SELECT current.* INTO _person FROM public.users AS current WHERE current.id = person.id;
  -- What was spent until each lot ended, then what was captured since: for that, what has ended goes first.
  FOR _ends_at IN
    SELECT DISTINCT lot.expires_at
    FROM public.credit_lots AS lot
    WHERE lot.user_id = person.id
      AND lot.used_credits + lot.expired_credits < lot.credits
      AND lot.expires_at <= _now
      AND lot.ended_at IS NULL
    ORDER BY lot.expires_at
  LOOP
    _person := ledger.settle_balance_lots(_person, _now, _ends_at);
    UPDATE public.credit_lots AS lot
    SET ended_at = _now
    WHERE lot.user_id = person.id AND lot.expires_at = _ends_at AND lot.ended_at IS NULL;
  END LOOP;
  _person := ledger.settle_balance_lots(_person, _now);

  FOR _lot IN
    SELECT
      lot.id, lot.credits - lot.used_credits - lot.expired_credits AS rest
    FROM public.credit_lots AS lot
    WHERE lot.user_id = person.id
      AND lot.used_credits + lot.expired_credits < lot.credits
      AND lot.expires_at <= _now
    ORDER BY lot.priority, lot.expires_at, lot.created_at, lot.id
  LOOP
    _keeps := ledger.keep_in_balance_holds(person.id, _lot.id, _lot.rest);
    UPDATE public.credit_lots AS lot
    SET
      used_credits = lot.used_credits + _keeps,
      expired_credits = lot.expired_credits + _lot.rest - _keeps,
      updated_at = _now
    WHERE lot.id = _lot.id;
    CONTINUE WHEN _lot.rest = _keeps;
    INSERT INTO public.credits_transactions (
      user_id, amount, description, transaction_type, transaction_metadata
    ) VALUES (
      person.id, -(_lot.rest - _keeps) / 1000.0, 'Credits expired', 'expiry',
      jsonb_build_object('lot_id', _lot.id)
    );
    _expired := _expired + 1;
  END LOOP;

  UPDATE public.users AS owner
  SET lots_due_at = (
    SELECT min(lot.expires_at)
    FROM public.credit_lots AS lot
    WHERE lot.user_id = owner.id AND lot.used_credits + lot.expired_credits < lot.credits
  )
  WHERE owner.id = person.id;
  RETURN _expired;
END;
$$;

REVOKE ALL ON FUNCTION ledger.expire_balance_lots FROM PUBLIC;
