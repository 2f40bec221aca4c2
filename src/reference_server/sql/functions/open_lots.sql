-- The open lots of an organisation or a user, in the order in which they are used, with what is left of each
-- now: `spent` is what was spent since this was last written down, `balance` what there is of all credits.
--
-- What has ended is used first, since only credits that were held then are left of it; then by
-- priority, and the soonest to expire first. What no lot has is used last. Lots never promise more than the
-- balance: what was withdrawn is taken from them as though it had been spent, once nothing else is left.
CREATE OR REPLACE FUNCTION ledger.open_lots(
  org_id TEXT, user_id BIGINT, spent BIGINT, balance BIGINT
) RETURNS TABLE (
  lot_id UUID, absorbed BIGINT, rest BIGINT, expires_at TIMESTAMPTZ, created_at TIMESTAMPTZ, place BIGINT
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH lot AS (
    SELECT
      row.id, row.expires_at, row.created_at,
      row.credits - row.used_credits - row.expired_credits AS left_before,
      row_number() OVER in_order AS place
    FROM public.credit_lots AS row
    WHERE (row.org_id = open_lots.org_id OR row.user_id = open_lots.user_id)
      AND row.used_credits + row.expired_credits < row.credits
    WINDOW in_order AS (
      ORDER BY row.ended_at IS NULL, row.priority, row.expires_at, row.created_at, row.id
    )
  ), line AS (
    SELECT
      lot.*,
      sum(lot.left_before) OVER (ORDER BY lot.place) - lot.left_before AS before_it,
      greatest(open_lots.spent, sum(lot.left_before) OVER () - greatest(open_lots.balance, 0), 0) AS gone
    FROM lot
  )
  SELECT
    line.id,
    least(greatest(line.gone - line.before_it, 0), line.left_before)::BIGINT,
    (line.left_before - least(greatest(line.gone - line.before_it, 0), line.left_before))::BIGINT,
    line.expires_at, line.created_at, line.place
  FROM line
  ORDER BY line.place;
END;
$$;

REVOKE ALL ON FUNCTION ledger.open_lots FROM PUBLIC;
