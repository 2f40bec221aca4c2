-- Invariant: what an organisation has allocated and settled never exceeds what its pool holds.
--
-- The only place where that is decided, whoever changes an allocation: a function or a plain UPDATE. The
-- allocation is locked already, then the pool: always in this order. Charges change neither of the two
-- columns, so for them the trigger does not exist.
CREATE OR REPLACE FUNCTION ledger.keep_pool_solvent() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _total BIGINT;
  _available BIGINT;
  _wanted BIGINT := NEW.allocated_credits + NEW.settled_credits;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    _wanted := _wanted - OLD.allocated_credits - OLD.settled_credits;
  END IF;

  SELECT pool.total_credits INTO _total
  FROM public.credit_pools AS pool
  WHERE pool.org_id = NEW.org_id
  FOR NO KEY UPDATE;
  -- A statement of its own, to see what others committed while this one waited for the lock.
  SELECT coalesce(_total, 0) - sum(allocation.allocated_credits + allocation.settled_credits)
  INTO _available
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = NEW.org_id;

  IF _available < 0 THEN
    PERFORM ledger.refuse(
      ledger.insufficient_problem('pool', NEW.org_id, NEW.user_id, _wanted, _available + _wanted)
    );
  END IF;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_pool_solvent FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_pool_solvent_on_insert
AFTER INSERT ON public.user_credit_allocations
FOR EACH ROW
WHEN (new.allocated_credits + new.settled_credits > 0)
EXECUTE FUNCTION ledger.keep_pool_solvent();

CREATE OR REPLACE TRIGGER keep_pool_solvent_on_update
AFTER UPDATE OF allocated_credits, settled_credits ON public.user_credit_allocations
FOR EACH ROW
WHEN (new.allocated_credits + new.settled_credits > old.allocated_credits + old.settled_credits)
EXECUTE FUNCTION ledger.keep_pool_solvent();
