-- Do what is due, of each kind at most `limit`. Lots expire and pools are refreshed before allocations are
-- refilled out of them. Any number of processes may run this at once: each takes rows that nobody else is
-- busy with, waits for none, and leaves the others to the next run.
DROP FUNCTION IF EXISTS ledger.run_due(INTEGER); -- what it answers has grown

CREATE FUNCTION ledger.run_due(
  "limit" INTEGER DEFAULT 1000,
  OUT holds_expired INTEGER,
  OUT allocations_reset INTEGER,
  OUT pools_refreshed INTEGER,
  OUT subscriptions_ended INTEGER,
  OUT subscriptions_renewed INTEGER,
  OUT lots_expired INTEGER
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _caller CONSTANT JSONB := ledger.act_as('{"actor": "run_due", "actor_kind": "system"}');
BEGIN
  holds_expired := ledger.expire_holds("limit");
  lots_expired := ledger.expire_lots("limit");
  pools_refreshed := ledger.refresh_pools("limit");
  allocations_reset := ledger.reset_allocations("limit");
  SELECT done.ended, done.renewed INTO subscriptions_ended, subscriptions_renewed
  FROM ledger.renew_subscriptions("limit") AS done;
  PERFORM ledger.act_as(_caller);
END;
$$;

REVOKE ALL ON FUNCTION ledger.run_due FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.run_due TO credits_app;
