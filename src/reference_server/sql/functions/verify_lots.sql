-- What is recorded of lots and does not follow from the append-only rows: of one organisation, or of all and
-- of users. Lots are what their events gave; what expired of them has its event; what was used was spent, or
-- is held; and the first of them to expire is not later than its owner's row says. Times are seconds since
-- 1970.
CREATE OR REPLACE FUNCTION ledger.verify_lots(org_id TEXT) RETURNS TABLE (
  org_id TEXT, subject TEXT, figure TEXT, recorded BIGINT, recomputed BIGINT
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
WITH lot AS (
  SELECT row.*
  FROM public.credit_lots AS row
  WHERE verify_lots.org_id IS NULL OR row.org_id = verify_lots.org_id
), expired AS (
  SELECT event.event_metadata ->> 'lot_id' AS lot_id, -sum(event.credits) AS credits
  FROM public.org_billing_history AS event
  WHERE event.event_type = 'credit_expired'
    AND (verify_lots.org_id IS NULL OR event.org_id = verify_lots.org_id)
  GROUP BY event.event_metadata ->> 'lot_id'
  UNION ALL
  SELECT entry.transaction_metadata ->> 'lot_id', -sum(entry.amount) * 1000
  FROM public.credits_transactions AS entry
  WHERE entry.transaction_type = 'expiry' AND verify_lots.org_id IS NULL
  GROUP BY entry.transaction_metadata ->> 'lot_id'
), owner AS (
  SELECT
    lot.org_id, lot.user_id, sum(lot.used_credits) AS used, min(lot.created_at) AS since,
    min(lot.expires_at) FILTER (WHERE lot.used_credits + lot.expired_credits < lot.credits) AS first_at
  FROM lot
  GROUP BY lot.org_id, lot.user_id
), spent AS (
  SELECT
    owner.org_id, owner.user_id, owner.used,
    CASE
      WHEN owner.org_id IS NULL THEN (
        SELECT coalesce(sum(ledger.ended_credits(hold.ended_lots)), 0)
        FROM public.user_credit_holds AS hold
        WHERE hold.user_id = owner.user_id AND hold.status = 'held'
      ) + (
        SELECT coalesce(-sum(entry.amount) * 1000, 0)
        FROM public.credits_transactions AS entry
        WHERE entry.user_id = owner.user_id
          AND entry.amount < 0
          AND entry.transaction_type <> 'expiry'
          AND entry.created_at >= owner.since
      )
      ELSE (
        SELECT coalesce(sum(ledger.ended_credits(hold.ended_lots)), 0)
        FROM public.credit_holds AS hold
        WHERE hold.org_id = owner.org_id AND hold.status = 'held' AND hold.ended_lots IS NOT NULL
      ) + (
        SELECT coalesce(sum(charge.credits_used), 0)
        FROM public.credit_usage_attribution AS charge
        WHERE charge.org_id = owner.org_id AND charge.credits_used > 0 AND charge.created_at >= owner.since
      ) - (
        SELECT coalesce(sum(event.credits), 0)
        FROM public.org_billing_history AS event
        WHERE event.org_id = owner.org_id
          AND event.event_type = 'credit_refund'
          AND event.created_at >= owner.since
      )
    END AS credits
  FROM owner
), figure AS (
  SELECT
    lot.org_id, 'lot ' || lot.id AS subject, 'credits' AS figure,
    lot.credits::NUMERIC AS recorded, coalesce(event.credits, entry.amount * 1000, 0) AS recomputed
  FROM lot
  LEFT JOIN public.org_billing_history AS event
    ON event.org_id = lot.org_id AND event.request_id = lot.request_id
  LEFT JOIN public.credits_transactions AS entry
    ON entry.user_id = lot.user_id AND entry.request_id = lot.request_id

  UNION ALL
  SELECT lot.org_id, 'lot ' || lot.id, 'expired_credits', lot.expired_credits, coalesce(expired.credits, 0)
  FROM lot
  LEFT JOIN expired ON expired.lot_id = lot.id::TEXT

  UNION ALL
  SELECT
    spent.org_id, 'lots of ' || coalesce('organisation ' || spent.org_id, 'user ' || spent.user_id),
    'used_credits', spent.used, least(spent.used, spent.credits)
  FROM spent

  UNION ALL
  SELECT
    owner.org_id, 'lots of ' || coalesce('organisation ' || owner.org_id, 'user ' || owner.user_id),
    'lots_due_at',
    floor(extract(EPOCH FROM coalesce(organization.lots_due_at, person.lots_due_at, TIMESTAMPTZ 'epoch'))),
    floor(extract(EPOCH FROM CASE
      WHEN coalesce(organization.lots_due_at, person.lots_due_at) <= owner.first_at
        THEN coalesce(organization.lots_due_at, person.lots_due_at)
      ELSE coalesce(owner.first_at, organization.lots_due_at, person.lots_due_at, TIMESTAMPTZ 'epoch')
    END))
  FROM owner
  LEFT JOIN public.organizations AS organization ON organization.id = owner.org_id
  LEFT JOIN public.users AS person ON person.id = owner.user_id
)
SELECT figure.org_id, figure.subject, figure.figure, figure.recorded::BIGINT, figure.recomputed::BIGINT
FROM figure
WHERE figure.recorded <> figure.recomputed
$$;

REVOKE ALL ON FUNCTION ledger.verify_lots FROM PUBLIC;
