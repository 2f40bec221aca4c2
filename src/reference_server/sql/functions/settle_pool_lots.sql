-- Write down what of an organisation's lots was used by a moment, or by now. The caller has locked the pool.
CREATE OR REPLACE FUNCTION ledger.settle_pool_lots(
  org_id TEXT, moment TIMESTAMPTZ, until TIMESTAMPTZ DEFAULT NULL
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  -- One statement, so that what is written as spent is what the lots were told of.
  WITH absorbing AS MATERIALIZED (
    SELECT lot.* FROM ledger.lots_of_pool(settle_pool_lots.org_id, until) AS lot
  ), used AS (
    UPDATE public.credit_lots AS lot
    SET used_credits = lot.used_credits + absorbing.absorbed, updated_at = moment
    FROM absorbing
    WHERE lot.id = absorbing.lot_id AND absorbing.absorbed > 0
  )
  UPDATE public.credit_pools AS pool
  SET lots_spent_credits = ledger.used_of_pool(pool.org_id, until)
  WHERE pool.org_id = settle_pool_lots.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.settle_pool_lots FROM PUBLIC;
