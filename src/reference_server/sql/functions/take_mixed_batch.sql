-- The batch that is not plain: decided charge by charge, then written as a set.
-- The caller holds the locks of `allocation_ids`.
CREATE OR REPLACE FUNCTION ledger.take_mixed_batch(org_id TEXT, charges JSONB, allocation_ids UUID[])
RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _document JSONB;
  _taken BIGINT;
  _written BIGINT;
  _now CONSTANT TIMESTAMPTZ := ledger.now();
BEGIN
  PERFORM ledger.lock_caps(
    take_mixed_batch.org_id,
    take_mixed_batch.allocation_ids,
    ARRAY(SELECT item.charge ->> 'api_key_id' FROM jsonb_array_elements(take_mixed_batch.charges) AS item (charge)),
    overdue_at => _now
  );
  PERFORM ledger.expire_holds_of(take_mixed_batch.allocation_ids, overdue_at => _now);
  FOR _attempt IN 1..20 LOOP
    BEGIN
      WITH decision AS MATERIALIZED (
        SELECT
          decided.*,
          take_mixed_batch.charges -> (decided.position - 1)::INTEGER ->> 'api_key_id' AS api_key_id
        FROM ledger.decide_batch(
          take_mixed_batch.org_id, take_mixed_batch.charges, take_mixed_batch.allocation_ids
        ) AS decided
      ), charge AS (
        INSERT INTO public.credit_usage_attribution (
          id, org_id, user_id, allocation_id, credits_used, service_type, service_name,
          request_id, request_metadata, remaining_after, created_at, api_key_id
        )
        SELECT
          (decision.receipt).charge_id, take_mixed_batch.org_id, (decision.receipt).user_id,
          decision.allocation_id, (decision.receipt).credits_used, (decision.receipt).service_type,
          (decision.receipt).service_name, decision.request_id, coalesce(decision.request_metadata, '{}'),
          (decision.receipt).remaining_credits, (decision.receipt).created_at, decision.api_key_id
        FROM decision
        WHERE decision.taken
        ORDER BY decision.request_id
        ON CONFLICT (org_id, request_id) DO NOTHING
        RETURNING id
      ), account AS (
        UPDATE public.user_credit_allocations AS allocation
        SET used_credits = allocation.used_credits + total.credits, updated_at = total.created_at
        FROM (
          SELECT
            decision.allocation_id,
            sum((decision.receipt).credits_used)::BIGINT AS credits,
            max((decision.receipt).created_at) AS created_at
          FROM decision
          WHERE decision.taken
          GROUP BY decision.allocation_id
        ) AS total
        WHERE allocation.org_id = take_mixed_batch.org_id
          AND allocation.id = total.allocation_id
          -- Says to the planner that it is few.
          AND allocation.id = ANY(take_mixed_batch.allocation_ids)
      ), counted AS (
        UPDATE public.credit_caps AS cap
        SET
          used_credits = ledger.used_of_cap(cap.period, cap.window_start, cap.used_credits, total.created_at)
          + total.credits,
          window_start = greatest(cap.window_start, ledger.cap_window(cap.period, total.created_at))
        FROM (
          SELECT
            place.scope,
            place.subject,
            sum((decision.receipt).credits_used)::BIGINT AS credits,
            max((decision.receipt).created_at) AS created_at
          FROM decision
          CROSS JOIN LATERAL (
            VALUES
            ('organization', ''), ('member', (decision.receipt).user_id), ('api_key', decision.api_key_id)
          ) AS place (scope, subject)
          WHERE decision.taken
          GROUP BY place.scope, place.subject
        ) AS total
        WHERE cap.org_id = take_mixed_batch.org_id
          AND cap.scope = total.scope
          AND cap.subject = total.subject
          AND cap.period <> 'call'
      )
      SELECT
        jsonb_build_object('outcomes', coalesce(
          jsonb_agg(
            CASE
              WHEN decision.problem IS NULL
                THEN jsonb_build_object('request_id', decision.request_id, 'receipt', decision.receipt)
              ELSE jsonb_build_object(
                'request_id', decision.request_id, 'problem', decision.problem - 'sqlstate'
              )
            END
            ORDER BY decision.position
          ),
          '[]'
        )),
        count(*) FILTER (WHERE decision.taken),
        (SELECT count(*) FROM charge)
      INTO _document, _taken, _written
      FROM decision;

      IF _taken = _written THEN
        RETURN _document;
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'CR999', MESSAGE = 'A request id of the batch was used meanwhile.';
    EXCEPTION
      WHEN SQLSTATE 'CR999' THEN
        -- Another member's charge did that since the decision: nothing of this was written, decide again.
        NULL;
    END;
  END LOOP;
  RAISE serialization_failure
    USING MESSAGE = 'Others used the request ids of this batch too often; try again.';
END;
$$;

REVOKE ALL ON FUNCTION ledger.take_mixed_batch FROM PUBLIC;
