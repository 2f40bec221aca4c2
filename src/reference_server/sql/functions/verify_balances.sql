-- Recompute every user's balance from the append-only rows, for `ledger.verify_ledger`, whose snapshot
-- this has. Amounts are millicredits.
CREATE OR REPLACE FUNCTION ledger.verify_balances() RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN (
    WITH person AS (
      SELECT row.id, row.credits, row.held_credits, 'balance of user ' || ledger.user_name(row) AS subject
      FROM public.users AS row
    ), entry AS (
      SELECT
        row.id, row.user_id, row.amount, row.balance_after, row.refund_of, row.hold_id,
        lag(row.balance_after, 1, 0.0) OVER (PARTITION BY row.user_id ORDER BY row.id) AS balance_before
      FROM public.credits_transactions AS row
    ), figure AS (
      SELECT
        person.subject, 'credits' AS figure,
        person.credits AS recorded, coalesce(sum(entry.amount), 0) AS recomputed
      FROM person
      LEFT JOIN entry ON entry.user_id = person.id
      GROUP BY person.id, person.subject, person.credits
      UNION ALL
      SELECT person.subject, 'held_credits', person.held_credits, coalesce(sum(hold.credits), 0)
      FROM person
      LEFT JOIN public.user_credit_holds AS hold ON hold.user_id = person.id AND hold.status = 'held'
      GROUP BY person.id, person.subject, person.held_credits
      UNION ALL
      SELECT
        'transaction ' || entry.id, 'balance_after', entry.balance_after, entry.balance_before + entry.amount
      FROM entry
      UNION ALL
      SELECT
        'hold ' || coalesce(hold.id, captured.hold_id), 'captured_credits',
        coalesce(hold.captured_credits, 0), coalesce(captured.credits, 0)
      FROM public.user_credit_holds AS hold
      FULL JOIN (
        SELECT entry.hold_id, -sum(entry.amount) AS credits
        FROM entry
        WHERE entry.hold_id IS NOT NULL
        GROUP BY entry.hold_id
      ) AS captured ON captured.hold_id = hold.id
      UNION ALL
      SELECT
        'hold ' || hold.id, 'credits',
        hold.credits, coalesce(hold.placed_credits, hold.credits) + coalesce(sum(extension.credits), 0)
      FROM public.user_credit_holds AS hold
      LEFT JOIN public.user_credit_hold_extensions AS extension ON extension.hold_id = hold.id
      GROUP BY hold.id, hold.credits, hold.placed_credits
      UNION ALL
      SELECT 'hold ' || entry.hold_id, 'charges', count(*) / 1000.0, 0.001
      FROM entry
      WHERE entry.hold_id IS NOT NULL
      GROUP BY entry.hold_id
      UNION ALL
      SELECT
        'charge ' || refunded.refund_of, 'refunded credits',
        refunded.credits, least(refunded.credits, greatest(-coalesce(charge.amount, 0), 0))
      FROM (
        SELECT entry.refund_of, sum(entry.amount) AS credits
        FROM entry
        WHERE entry.refund_of IS NOT NULL
        GROUP BY entry.refund_of
      ) AS refunded
      LEFT JOIN entry AS charge ON charge.id = refunded.refund_of
    )
    SELECT jsonb_build_object(
      'users', (SELECT count(*) FROM person),
      'transactions', (SELECT count(*) FROM entry),
      'open_holds', (SELECT count(*) FROM public.user_credit_holds AS hold WHERE hold.status = 'held'),
      'differences', coalesce(
        (
          SELECT jsonb_agg(
            jsonb_build_object(
              'org_id', NULL,
              'subject', wrong.subject,
              'figure', wrong.figure,
              'recorded', (wrong.recorded * 1000)::BIGINT,
              'recomputed', (wrong.recomputed * 1000)::BIGINT
            )
            ORDER BY wrong.subject, wrong.figure
          )
          FROM figure AS wrong
          WHERE wrong.recorded <> wrong.recomputed
        ),
        '[]'
      )
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.verify_balances FROM PUBLIC;
