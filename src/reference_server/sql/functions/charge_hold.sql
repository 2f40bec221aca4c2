-- Invariant: what is charged for parts of an open hold is taken from what the hold has left, each part once
-- for its request id: held credits turn into used ones, and the rest stays held.
--
-- All of the charges are taken, or none. Those that were taken before, here or by a deduct, are answered
-- again and take nothing. A hold past its time takes no new parts: they are deducts then. Caps have counted
-- the hold, so parts count nothing more. `close` gives back what is left, and ends the hold.
CREATE OR REPLACE FUNCTION ledger.charge_hold(
  hold_id UUID,
  charges JSONB,
  org_id TEXT DEFAULT NULL,
  close BOOLEAN DEFAULT FALSE,
  OUT document JSON
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _hold public.credit_holds := ledger.find_hold(charge_hold.hold_id, charge_hold.org_id);
  _account public.user_credit_allocations;
  _now TIMESTAMPTZ;
  _asked RECORD;
  _taken BIGINT;
  _receipts JSON;
BEGIN
  IF _hold.ended_lots IS NOT NULL THEN
    -- What is over its time expires before the part is taken out of what the hold keeps.
    PERFORM ledger.lock_allocations(_hold.org_id, ARRAY[_hold.user_id]);
  END IF;
  SELECT allocation.* INTO _account
  FROM public.user_credit_allocations AS allocation
  WHERE allocation.org_id = _hold.org_id AND allocation.user_id = _hold.user_id
  FOR NO KEY UPDATE;
  -- The member's holds and charges stand still from here on.
  PERFORM ledger.lock_caps(_hold.org_id, ARRAY[_account.id], ARRAY[_hold.api_key_id]);
  _hold := ledger.find_hold(_hold.id, _hold.org_id);
  _now := ledger.now();

  SELECT
    coalesce(sum(part.credits) FILTER (WHERE earlier.id IS NULL), 0)::BIGINT AS credits,
    count(*) FILTER (WHERE earlier.id IS NULL) AS fresh,
    min(part.request_id) FILTER (
      WHERE earlier.id IS NOT NULL AND (
        earlier.user_id, earlier.credits_used, earlier.service_type, earlier.service_name, earlier.refund_of
      ) IS DISTINCT FROM (
        _hold.user_id, part.credits, part.service_type, part.service_name, NULL::UUID
      )
    ) AS used_otherwise,
    min(part.request_id) FILTER (
      WHERE earlier.id IS NULL AND EXISTS (
        SELECT FROM public.credit_holds AS other
        WHERE other.org_id = _hold.org_id AND other.request_id = part.request_id AND other.status = 'held'
      )
    ) AS holding
  INTO _asked
  FROM ledger.parts_of_hold(_hold, charge_hold.charges) AS part
  -- One look at the key for each part, however long the history is.
  LEFT JOIN LATERAL (
    SELECT charge.*
    FROM public.credit_usage_attribution AS charge
    WHERE charge.org_id = _hold.org_id AND charge.request_id = part.request_id
    LIMIT 1
  ) AS earlier ON TRUE;
  IF _asked.used_otherwise IS NOT NULL THEN
    PERFORM ledger.refuse(ledger.id_taken_problem(_hold.org_id, _asked.used_otherwise));
  ELSIF _asked.credits > 0 THEN
    PERFORM ledger.require_parts(_hold, _asked.credits, _asked.holding, _now);
  END IF;

  WITH part AS MATERIALIZED (
    SELECT
      part.*,
      earlier.id IS NULL AS is_fresh,
      coalesce(earlier.id, ledger.new_id()) AS id,
      coalesce(earlier.created_at, _now) AS created_at,
      CASE
        WHEN earlier.id IS NOT NULL THEN earlier.remaining_after
        ELSE _account.remaining_credits
          - sum(part.credits) FILTER (WHERE earlier.id IS NULL) OVER (ORDER BY part.place)
      END AS remaining
    FROM ledger.parts_of_hold(_hold, charge_hold.charges) AS part
    LEFT JOIN LATERAL (
      SELECT charge.*
      FROM public.credit_usage_attribution AS charge
      WHERE charge.org_id = _hold.org_id AND charge.request_id = part.request_id
      LIMIT 1
    ) AS earlier ON TRUE
  ), charge AS (
    INSERT INTO public.credit_usage_attribution (
      id, org_id, user_id, allocation_id, credits_used, service_type, service_name,
      request_id, request_metadata, hold_id, remaining_after, created_at, api_key_id
    )
    SELECT
      part.id, _hold.org_id, _hold.user_id, _account.id, part.credits, part.service_type, part.service_name,
      part.request_id, part.request_metadata, _hold.id, part.remaining, part.created_at, _hold.api_key_id
    FROM part
    WHERE part.is_fresh
    ORDER BY part.request_id
    ON CONFLICT (org_id, request_id) DO NOTHING
    RETURNING id
  )
  SELECT
    (SELECT count(*) FROM charge),
    json_agg(
      ROW(
        part.id, _hold.org_id, _hold.user_id, part.credits, part.remaining, part.service_type,
        part.service_name, part.request_id, part.created_at, NOT part.is_fresh
      )::ledger.receipt
      ORDER BY part.place
    )
  INTO _taken, _receipts
  FROM part;
  IF _taken <> _asked.fresh THEN
    PERFORM ledger.refuse(ledger.problem(
      'idempotency_conflict', 'A request id of the charges is used by another member at this moment.'
    ));
  END IF;

  _hold := ledger.shrink_hold(_hold, _account.id, _asked.credits, charge_hold.close, _now);
  document := json_build_object(
    'hold', ledger.hold_row(_hold, replayed => _asked.credits = 0), 'receipts', _receipts
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.charge_hold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.charge_hold TO credits_app;
