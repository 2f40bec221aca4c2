-- Recompute every balance from the append-only rows, and answer each figure that does not follow from
-- them: of one organisation, or of all and of the users' own balances. One statement: it sees one moment,
-- whatever is charged meanwhile.
CREATE OR REPLACE FUNCTION ledger.verify_ledger(org_id TEXT DEFAULT NULL, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
  _balances JSONB := '{"users": 0, "transactions": 0, "open_holds": 0, "differences": []}';
BEGIN
  IF verify_ledger.org_id IS NULL THEN
    _balances := ledger.verify_balances();
  ELSE
    PERFORM ledger.require_organization(verify_ledger.org_id);
  END IF;

  WITH charge AS NOT MATERIALIZED (
    SELECT row.*
    FROM public.credit_usage_attribution AS row
    WHERE verify_ledger.org_id IS NULL OR row.org_id = verify_ledger.org_id
  ), hold AS NOT MATERIALIZED (
    SELECT row.*
    FROM public.credit_holds AS row
    WHERE verify_ledger.org_id IS NULL OR row.org_id = verify_ledger.org_id
  ), allocation AS NOT MATERIALIZED (
    SELECT row.*, 'allocation of user ' || row.user_id AS subject
    FROM public.user_credit_allocations AS row
    WHERE verify_ledger.org_id IS NULL OR row.org_id = verify_ledger.org_id
  ), used AS (
    SELECT charge.org_id, charge.user_id, charge.allocation_id, sum(charge.credits_used)::BIGINT AS credits
    FROM charge
    GROUP BY charge.org_id, charge.user_id, charge.allocation_id
  ), held AS (
    SELECT hold.org_id, hold.user_id, sum(hold.credits)::BIGINT AS credits
    FROM hold
    WHERE hold.status = 'held'
    GROUP BY hold.org_id, hold.user_id
  ), added AS (
    SELECT event.org_id, sum(event.credits)::BIGINT AS credits
    FROM public.org_billing_history AS event
    WHERE event.event_type IN ('credit_purchase', 'credit_grant', 'pool_refresh', 'credit_refund', 'credit_expired')
    GROUP BY event.org_id
  ), captured AS (
    SELECT
      charge.org_id, charge.hold_id,
      sum(charge.credits_used)::BIGINT AS credits,
      sum(charge.credits_used) FILTER (WHERE charge.request_id <> own.request_id)::BIGINT AS parts
    FROM charge
    LEFT JOIN public.credit_holds AS own ON own.org_id = charge.org_id AND own.id = charge.hold_id
    WHERE charge.hold_id IS NOT NULL
    GROUP BY charge.org_id, charge.hold_id
  ), extended AS (
    SELECT extension.org_id, extension.hold_id, sum(extension.credits)::BIGINT AS credits
    FROM public.credit_hold_extensions AS extension
    WHERE verify_ledger.org_id IS NULL OR extension.org_id = verify_ledger.org_id
    GROUP BY extension.org_id, extension.hold_id
  ), refunded AS (
    SELECT charge.org_id, charge.refund_of, -sum(charge.credits_used)::BIGINT AS credits
    FROM charge
    WHERE charge.refund_of IS NOT NULL
    GROUP BY charge.org_id, charge.refund_of
  ), cap AS (
    SELECT
      row.*,
      'cap per ' || row.period || ' of ' || CASE row.scope
        WHEN 'member' THEN 'user ' || row.subject
        WHEN 'api_key' THEN 'API key ' || row.subject
        ELSE 'the organisation'
      END AS name
    FROM public.credit_caps AS row
    WHERE row.period <> 'call' AND (verify_ledger.org_id IS NULL OR row.org_id = verify_ledger.org_id)
  ), spending AS (
    SELECT capped.org_id, spent.*
    FROM (SELECT cap.org_id, min(cap.window_start) AS since FROM cap GROUP BY cap.org_id) AS capped
    CROSS JOIN LATERAL ledger.spending_since(capped.org_id, capped.since) AS spent
  ), figure AS (
    SELECT
      coalesce(allocation.org_id, used.org_id) AS org_id,
      coalesce(allocation.subject, 'allocation of user ' || used.user_id) AS subject,
      'settled_credits + used_credits' AS figure,
      coalesce(allocation.settled_credits + allocation.used_credits, 0) AS recorded,
      coalesce(used.credits, 0) AS recomputed
    FROM allocation
    FULL JOIN used
      ON used.org_id = allocation.org_id
        AND used.user_id = allocation.user_id
        AND used.allocation_id = allocation.id
    UNION ALL
    SELECT
      coalesce(allocation.org_id, held.org_id),
      coalesce(allocation.subject, 'allocation of user ' || held.user_id),
      'held_credits',
      coalesce(allocation.held_credits, 0),
      coalesce(held.credits, 0)
    FROM allocation
    FULL JOIN held ON held.org_id = allocation.org_id AND held.user_id = allocation.user_id
    UNION ALL
    SELECT pool.org_id, 'pool', 'total_credits', pool.total_credits, coalesce(added.credits, 0)
    FROM public.credit_pools AS pool
    LEFT JOIN added ON added.org_id = pool.org_id
    WHERE verify_ledger.org_id IS NULL OR pool.org_id = verify_ledger.org_id
    UNION ALL
    SELECT
      pool.org_id, 'pool', 'available_credits',
      pool.available_credits, greatest(pool.available_credits, 0)
    FROM public.organization_credit_pools AS pool
    WHERE verify_ledger.org_id IS NULL OR pool.org_id = verify_ledger.org_id
    UNION ALL
    SELECT
      coalesce(hold.org_id, captured.org_id),
      'hold ' || coalesce(hold.id, captured.hold_id),
      'captured_credits',
      coalesce(hold.captured_credits, 0), coalesce(captured.credits, 0)
    FROM hold
    FULL JOIN captured ON captured.org_id = hold.org_id AND captured.hold_id = hold.id
    UNION ALL
    SELECT
      hold.org_id, 'hold ' || hold.id, 'credits',
      hold.credits,
      coalesce(hold.placed_credits, hold.credits) + coalesce(extended.credits, 0) - coalesce(captured.parts, 0)
    FROM hold
    LEFT JOIN extended ON extended.org_id = hold.org_id AND extended.hold_id = hold.id
    LEFT JOIN captured ON captured.org_id = hold.org_id AND captured.hold_id = hold.id
    UNION ALL
    SELECT
      refunded.org_id, 'charge ' || refunded.refund_of, 'refunded credits',
      refunded.credits, least(refunded.credits, coalesce(charge.credits_used, 0))
    FROM refunded
    LEFT JOIN charge
      ON charge.org_id = refunded.org_id AND charge.id = refunded.refund_of AND charge.refund_of IS NULL
    UNION ALL
    SELECT lot.org_id, lot.subject, lot.figure, lot.recorded, lot.recomputed
    FROM ledger.verify_lots(verify_ledger.org_id) AS lot
    UNION ALL
    SELECT cap.org_id, cap.name, 'used_credits', cap.used_credits, coalesce(sum(spending.credits), 0)
    FROM cap
    LEFT JOIN spending
      ON spending.org_id = cap.org_id
        AND ledger.cap_window(cap.period, spending.counted_at) = cap.window_start
        AND CASE cap.scope
          WHEN 'member' THEN spending.user_id = cap.subject
          WHEN 'api_key' THEN spending.api_key_id = cap.subject
          ELSE TRUE
        END
    GROUP BY cap.org_id, cap.name, cap.used_credits
  )
  SELECT jsonb_build_object(
    'organizations', (
      SELECT count(*)
      FROM public.organizations AS organization
      WHERE verify_ledger.org_id IS NULL OR organization.id = verify_ledger.org_id
    ),
    'allocations', (SELECT count(*) FROM allocation),
    'charges', (SELECT count(*) FROM charge),
    'users', _balances -> 'users',
    'transactions', _balances -> 'transactions',
    'open_holds',
    (_balances -> 'open_holds')::BIGINT + (SELECT count(*) FROM hold WHERE hold.status = 'held'),
    'differences', coalesce(
      (
        SELECT jsonb_agg(to_jsonb(wrong) ORDER BY wrong.org_id, wrong.subject, wrong.figure)
        FROM figure AS wrong
        WHERE wrong.recorded <> wrong.recomputed
      ),
      '[]'
    ) || (_balances -> 'differences')
  ) INTO document;
END;
$$;

REVOKE ALL ON FUNCTION ledger.verify_ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.verify_ledger TO credits_app;
