-- Invariant: a batch has the outcomes that its charges would have had one after the other, in order.
--
-- Decides in memory and writes nothing. The caller has locked `allocation_ids`, so that balances stand
-- still, and the caps; running figures are kept by member (`_free`, `_remaining`, `_of_member`), by API key
-- (`_of_key`), of all (`_of_all`), and by request id (`_taken`).
CREATE OR REPLACE FUNCTION ledger.decide_batch(org_id TEXT, charges JSONB, allocation_ids UUID[])
RETURNS SETOF ledger.batch_decision
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _free BIGINT[] := '{}';
  _remaining BIGINT[] := '{}';
  _of_all BIGINT := 0;
  _of_member BIGINT[] := '{}';
  _of_key BIGINT[] := '{}';
  _taken ledger.receipt[] := '{}';
  _first ledger.receipt;
  _charge RECORD;
  _decision ledger.batch_decision;
  _no_share JSONB;
  _over_cap JSONB;
BEGIN
  FOR _charge IN
    SELECT
      item.*,
      dense_rank() OVER (ORDER BY item.user_id) AS member_number,
      dense_rank() OVER (ORDER BY item.request_id) AS id_number,
      dense_rank() OVER (ORDER BY item.api_key_id) AS key_number,
      allocation.id AS allocation_id,
      allocation.is_active AND organization.status = 'active' AS is_active,
      allocation.capped,
      allocation.remaining_credits AS remaining,
      allocation.remaining_credits - allocation.held_credits + limits.overage AS free,
      allocation.next_reset_date,
      limits.overage,
      earlier.receipt AS earlier,
      hold.id AS hold_id
    FROM ROWS FROM (
      jsonb_to_recordset(decide_batch.charges) AS (
        user_id TEXT, credits BIGINT, service_type TEXT, service_name TEXT,
        request_id TEXT, request_metadata JSONB, api_key_id TEXT
      )
    ) WITH ORDINALITY AS item (
      user_id, credits, service_type, service_name, request_id, request_metadata, api_key_id, position
    )
    CROSS JOIN (SELECT ledger.overage(decide_batch.org_id) AS overage) AS limits
    LEFT JOIN public.organizations AS organization ON organization.id = decide_batch.org_id
    LEFT JOIN (
      SELECT locked.*
      FROM public.user_credit_allocations AS locked
      WHERE locked.org_id = decide_batch.org_id AND locked.id = ANY(decide_batch.allocation_ids)
    ) AS allocation ON allocation.user_id = item.user_id
    LEFT JOIN LATERAL (
      SELECT ROW(
        charge.id, charge.org_id, charge.user_id, charge.credits_used, charge.remaining_after,
        charge.service_type, charge.service_name, charge.request_id, charge.created_at, TRUE
      )::ledger.receipt AS receipt
      FROM public.credit_usage_attribution AS charge
      WHERE charge.org_id = decide_batch.org_id AND charge.request_id = item.request_id
      LIMIT 1
    ) AS earlier ON TRUE
    LEFT JOIN LATERAL (
      SELECT hold.id
      FROM public.credit_holds AS hold
      WHERE hold.org_id = decide_batch.org_id AND hold.request_id = item.request_id AND hold.status = 'held'
      LIMIT 1
    ) AS hold ON TRUE
    ORDER BY item.position
  LOOP
    _decision := ROW(
      _charge.position, _charge.request_id, FALSE, _charge.allocation_id, _charge.request_metadata, NULL, NULL
    )::ledger.batch_decision;
    _free[_charge.member_number] := coalesce(_free[_charge.member_number], _charge.free);
    _remaining[_charge.member_number] := coalesce(_remaining[_charge.member_number], _charge.remaining);
    _of_member[_charge.member_number] := coalesce(_of_member[_charge.member_number], 0);
    _of_key[_charge.key_number] := coalesce(_of_key[_charge.key_number], 0);
    _first := coalesce(_taken[_charge.id_number], _charge.earlier);

    _no_share := CASE WHEN _charge.is_active IS NOT TRUE THEN coalesce(
      ledger.spending_problem(decide_batch.org_id, _charge.user_id, _charge.credits),
      -- Allocated to since the locks were taken: too late for this batch.
      ledger.no_allocation_problem(decide_batch.org_id, _charge.user_id)
    ) END;

    _over_cap := CASE WHEN _charge.capped THEN ledger.cap_problem(
      decide_batch.org_id, _charge.user_id, _charge.api_key_id, _charge.credits, _now,
      pending => jsonb_build_object(
        'organization', _of_all,
        'member', _of_member[_charge.member_number],
        'api_key', _of_key[_charge.key_number]
      )
    ) END;

    IF ledger.is_amount(_charge.credits) IS NOT TRUE THEN
      _decision.problem := ledger.amount_problem(_charge.credits);
    ELSIF _no_share ->> 'code' = 'not_a_member' THEN
      _decision.problem := _no_share;
    ELSIF _first.charge_id IS NOT NULL THEN
      -- A refund took less than nothing, so that no charge is like it.
      IF
        (_first.user_id, _first.credits_used, _first.service_type, _first.service_name)
        IS NOT DISTINCT FROM (_charge.user_id, _charge.credits, _charge.service_type, _charge.service_name)
      THEN
        _first.replayed := TRUE;
        _decision.receipt := _first;
      ELSE
        _decision.problem := ledger.id_taken_problem(decide_batch.org_id, _charge.request_id);
      END IF;
    ELSIF _charge.hold_id IS NOT NULL THEN
      _decision.problem := ledger.held_id_problem(decide_batch.org_id, _charge.request_id);
    ELSIF _no_share IS NOT NULL THEN
      _decision.problem := _no_share;
    ELSIF _charge.credits > _free[_charge.member_number] THEN
      _decision.problem := ledger.insufficient_problem(
        CASE WHEN _charge.overage > 0 THEN 'overage' ELSE 'allocation' END,
        decide_batch.org_id, _charge.user_id,
        _charge.credits, _free[_charge.member_number], _charge.next_reset_date
      );
    ELSIF _over_cap IS NOT NULL THEN
      _decision.problem := _over_cap;
    ELSE
      _free[_charge.member_number] := _free[_charge.member_number] - _charge.credits;
      _remaining[_charge.member_number] := _remaining[_charge.member_number] - _charge.credits;
      _of_all := _of_all + _charge.credits;
      _of_member[_charge.member_number] := _of_member[_charge.member_number] + _charge.credits;
      _of_key[_charge.key_number] := _of_key[_charge.key_number] + _charge.credits;
      _decision.taken := TRUE;
      _decision.receipt := ROW(
        ledger.new_id(), decide_batch.org_id, _charge.user_id, _charge.credits,
        _remaining[_charge.member_number], _charge.service_type, _charge.service_name, _charge.request_id,
        _now, FALSE
      )::ledger.receipt;
      _taken[_charge.id_number] := _decision.receipt;
    END IF;
    RETURN NEXT _decision;
  END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION ledger.decide_batch FROM PUBLIC;
