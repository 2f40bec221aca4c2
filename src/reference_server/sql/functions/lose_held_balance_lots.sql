-- Invariant: what a user's hold kept of lots that have ended is used by that hold, or by nobody: see
-- `ledger.lose_held_lots`. The user's row is locked, and holds no credits for the hold any more.
CREATE OR REPLACE FUNCTION ledger.lose_held_balance_lots() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _part RECORD;
BEGIN
  FOR _part IN
    SELECT part.lot_id, part.credits
    FROM ledger.ended_parts(
      OLD.ended_lots, ((NEW.captured_credits - OLD.captured_credits) * 1000)::BIGINT
    ) AS part
    ORDER BY part.lot_id
  LOOP
    UPDATE public.credit_lots AS lot
    SET
      used_credits = lot.used_credits - _part.credits,
      expired_credits = lot.expired_credits + _part.credits,
      updated_at = ledger.now()
    WHERE lot.id = _part.lot_id;
    INSERT INTO public.credits_transactions (
      user_id, amount, description, transaction_type, transaction_metadata
    ) VALUES (
      NEW.user_id, -_part.credits / 1000.0, 'Credits expired', 'expiry',
      jsonb_build_object('lot_id', _part.lot_id)
    );
  END LOOP;
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lose_held_balance_lots FROM PUBLIC;

CREATE OR REPLACE TRIGGER lose_held_balance_lots_on_update
AFTER UPDATE ON public.user_credit_holds
FOR EACH ROW
WHEN (old.ended_lots IS NOT NULL AND old.status = 'held' AND new.status <> 'held')
EXECUTE FUNCTION ledger.lose_held_balance_lots();
