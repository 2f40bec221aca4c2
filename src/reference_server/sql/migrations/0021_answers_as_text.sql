-- Batches answer JSON as it is written, not JSONB, which is built and then written again: a third of what a
-- charge of a batch cost. A function's result cannot be replaced, so these are made anew after this.
DROP FUNCTION IF EXISTS public.deduct_credits_batch(TEXT, JSONB);
DROP FUNCTION IF EXISTS ledger.deduct_batch(TEXT, JSONB);
DROP FUNCTION IF EXISTS ledger.take_plain_batch(TEXT, JSONB, UUID[]);
DROP FUNCTION IF EXISTS ledger.place_hold_batch(TEXT, JSONB);
DROP FUNCTION IF EXISTS ledger.place_plain_holds(TEXT, JSONB, UUID[]);
DROP FUNCTION IF EXISTS ledger.capture_hold_batch(TEXT, JSONB);
DROP FUNCTION IF EXISTS ledger.capture_plain_holds(TEXT, JSONB, UUID[]);
DROP FUNCTION IF EXISTS ledger.charge_hold(UUID, JSONB, TEXT, BOOLEAN);
