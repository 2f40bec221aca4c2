-- Invariant: what a hold kept of lots that have ended is used by that hold, or by nobody.
--
-- A hold that is given back, or captured for less, loses it at once: nobody else sees it free. The allocation
-- is locked, as whenever a hold changes, and caps where they count; then the pool, as everywhere. What was
-- kept is written down in the lot as used since the lot ended, so that a capture changes nothing here. The
-- condition is the trigger's: a hold that keeps nothing of ended lots runs no function.
--
-- A member whose allocation was lowered may have too little to give back: others have it then, whose
-- allocations are not locked here. The lot is open again, and due, so that nothing is taken from the
-- organisation before `ledger.expire_pool_lots` has taken that from whoever has it. The organisation is
-- locked before allocations everywhere else; so that nobody waits in a circle, this does not wait for it.
CREATE OR REPLACE FUNCTION ledger.lose_held_lots() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _part RECORD;
  -- Whether what is lost is not allocated, or is the member's.
  _is_there BOOLEAN;
BEGIN
  IF NEW.status = 'held' THEN
    -- A part was captured: what remains for the rest.
    UPDATE public.credit_holds AS hold
    SET ended_lots = (
      SELECT jsonb_object_agg(part.lot_id, part.credits)
      FROM ledger.ended_parts(OLD.ended_lots, OLD.credits - NEW.credits) AS part
    )
    WHERE hold.id = NEW.id AND hold.org_id = NEW.org_id;
    RETURN NULL;
  END IF;
  FOR _part IN
    SELECT part.lot_id, part.credits
    FROM ledger.ended_parts(OLD.ended_lots, (NEW.captured_credits - OLD.captured_credits)::BIGINT) AS part
    ORDER BY part.lot_id
  LOOP
    PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = NEW.org_id FOR NO KEY UPDATE;
    UPDATE public.credit_pools AS pool
    SET lots_spent_credits = pool.lots_spent_credits - _part.credits
    WHERE pool.org_id = NEW.org_id;
    _is_there := coalesce(_part.credits <= (
      SELECT
        greatest(pool.available_credits, 0)
        + greatest(allocation.allocated_credits - allocation.used_credits - allocation.held_credits, 0)
      FROM public.organization_credit_pools AS pool
      INNER JOIN public.user_credit_allocations AS allocation
        ON allocation.org_id = pool.org_id AND allocation.user_id = NEW.user_id
      WHERE pool.org_id = NEW.org_id
    ), FALSE);
    IF NOT _is_there THEN
      PERFORM FROM public.organizations AS organization
      WHERE organization.id = NEW.org_id
      FOR NO KEY UPDATE NOWAIT;
      IF NOT ledger.has_lots_due(NEW.org_id) THEN
        -- What was spent until now was not spent from this lot.
        PERFORM ledger.settle_pool_lots(NEW.org_id, _now);
      END IF;
    END IF;
    UPDATE public.credit_lots AS lot
    SET used_credits = lot.used_credits - _part.credits
    WHERE lot.id = _part.lot_id;
    IF _is_there THEN
      PERFORM ledger.take_expired(NEW.org_id, _part.lot_id, _part.credits, _now, NEW.user_id);
    ELSE
      UPDATE public.organizations AS organization
      SET lots_due_at = least(organization.lots_due_at, lot.expires_at)
      FROM public.credit_lots AS lot
      WHERE organization.id = NEW.org_id AND lot.id = _part.lot_id;
    END IF;
  END LOOP;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lose_held_lots FROM PUBLIC;

CREATE OR REPLACE TRIGGER lose_held_lots_on_update
AFTER UPDATE ON public.credit_holds
FOR EACH ROW
WHEN (
  old.ended_lots IS NOT NULL AND old.status = 'held' AND (new.status <> 'held' OR new.credits < old.credits)
)
EXECUTE FUNCTION ledger.lose_held_lots();
