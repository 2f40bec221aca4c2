-- Leave what remains of a lot that has ended to the open holds of an organisation, whose allocations the
-- caller has locked: the oldest first, each up to what it holds beside other ended lots. Answers how much
-- they keep.
CREATE OR REPLACE FUNCTION ledger.keep_in_holds(
  org_id TEXT, lot_id UUID, rest BIGINT
) RETURNS BIGINT
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _kept BIGINT;
BEGIN
  WITH line AS (
    SELECT
      hold.id,
      own.room,
      sum(own.room) OVER (ORDER BY hold.created_at, hold.id) - own.room AS before_it
    FROM public.credit_holds AS hold
    CROSS JOIN LATERAL (
      SELECT greatest(hold.credits - ledger.ended_credits(hold.ended_lots), 0) AS room
    ) AS own
    WHERE hold.org_id = keep_in_holds.org_id AND hold.status = 'held'
  ), share AS (
    SELECT line.id, least(line.room, greatest(keep_in_holds.rest - line.before_it, 0))::BIGINT AS credits
    FROM line
  ), keeping AS (
    UPDATE public.credit_holds AS hold
    SET ended_lots = coalesce(hold.ended_lots, '{}') || jsonb_build_object(keep_in_holds.lot_id, share.credits)
    FROM share
    WHERE hold.id = share.id AND hold.org_id = keep_in_holds.org_id AND share.credits > 0
    RETURNING share.credits
  )
  SELECT coalesce(sum(keeping.credits), 0) INTO _kept FROM keeping;
  RETURN _kept;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_in_holds FROM PUBLIC;
