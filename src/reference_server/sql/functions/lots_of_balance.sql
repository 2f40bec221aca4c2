-- The open lots of a user as they are now, or were at an earlier moment since they changed last, whether that
-- is written down or not. A refund cancels spending; a payment that was returned, and what expired, is none.
-- What holds keep of lots that have ended counts as spent since then, and not once more when it is captured.
CREATE OR REPLACE FUNCTION ledger.lots_of_balance(person public.users, until TIMESTAMPTZ DEFAULT NULL)
RETURNS TABLE (
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
  SELECT lot.*
  FROM (
    SELECT
      coalesce(
        -sum(entry.amount + own.ended) FILTER (
          WHERE (until IS NULL OR entry.created_at < until)
            AND (
              entry.refund_of IS NOT NULL
              OR (entry.amount < 0 AND entry.transaction_type NOT IN ('expiry', 'refund'))
            )
        ),
        0
      ) AS spent,
      coalesce(sum(entry.amount + own.ended) FILTER (WHERE entry.created_at >= until), 0) AS later
    FROM public.credits_transactions AS entry
    LEFT JOIN public.user_credit_holds AS hold ON hold.id = entry.hold_id
    CROSS JOIN LATERAL (
      SELECT least(-entry.amount, coalesce(ledger.ended_credits(hold.ended_lots), 0) / 1000.0) AS ended
    ) AS captured
    CROSS JOIN LATERAL (
      SELECT CASE WHEN hold.status = 'captured' THEN captured.ended ELSE 0 END AS ended
    ) AS own
    WHERE entry.user_id = person.id AND entry.id > person.lots_settled_id
  ) AS moved
  CROSS JOIN (
    SELECT coalesce(sum(ledger.ended_credits(hold.ended_lots)), 0)::BIGINT AS credits
    FROM public.user_credit_holds AS hold
    WHERE hold.user_id = person.id AND hold.status = 'held'
  ) AS kept
  CROSS JOIN LATERAL ledger.open_lots(
    NULL, person.id, (moved.spent * 1000)::BIGINT, ((person.credits - moved.later) * 1000)::BIGINT - kept.credits
  ) AS lot;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lots_of_balance FROM PUBLIC;
