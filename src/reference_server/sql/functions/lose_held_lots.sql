-- Invariant: what a hold kept of lots that have ended is used by that hold, or by nobody.
--
-- A hold that is given back, or captured for less, loses it at once: nobody else sees it free. The allocation
-- is locked, as whenever a hold changes, and caps where they count; then the pool, as everywhere. What was
-- kept is written down in the lot as used since the lot ended, so that a capture changes nothing here. The
-- condition is the trigger's: a hold that keeps nothing of ended lots runs no function.
CREATE OR REPLACE FUNCTION ledger.lose_held_lots() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _part RECORD;
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
    UPDATE public.credit_lots AS lot
    SET used_credits = lot.used_credits - _part.credits
    WHERE lot.id = _part.lot_id;
    PERFORM ledger.take_expired(NEW.org_id, _part.lot_id, _part.credits, _now, NEW.user_id);
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
