-- Every balance that differs between the first system's tables and the books: there must be none.
-- noqa: disable=aliasing.expression,aliasing.unique.column
SELECT
  differing.place,
  differing.owner,
  differing.before,
  differing.after
FROM (
  SELECT
    'user_credit_allocations.' || figure.name AS place,
    allocation.org_id || '/' || allocation.user_id AS owner,
    figure.before::TEXT AS before,
    figure.after::TEXT AS after
  FROM old_user_credit_allocations AS allocation
  LEFT JOIN public.user_credit_allocations AS adopted
    ON adopted.org_id = allocation.org_id AND adopted.user_id = allocation.user_id
  CROSS JOIN
    LATERAL (
      VALUES
      ('allocated_credits', allocation.allocated_credits, adopted.allocated_credits),
      ('used_credits', allocation.used_credits, adopted.used_credits),
      (
        'remaining_credits', allocation.allocated_credits - allocation.used_credits,
        adopted.remaining_credits
      )
    ) AS figure (name, before, after)
  WHERE figure.before IS DISTINCT FROM figure.after
  UNION ALL
  SELECT
    'organization_credit_pools.' || figure.name,
    pool.org_id,
    figure.before::TEXT,
    figure.after::TEXT
  FROM old_organization_credit_pools AS pool
  LEFT JOIN public.organization_credit_pools AS adopted ON adopted.org_id = pool.org_id
  CROSS JOIN
    LATERAL (
      VALUES
      ('total_credits', pool.total_credits, adopted.total_credits - adopted.settled_credits),
      (
        'allocated_credits',
        coalesce(pool.allocated_credits, adopted.allocated_credits),
        adopted.allocated_credits
      ),
      ('used_credits', coalesce(pool.used_credits, adopted.used_credits), adopted.used_credits),
      ('available_credits', pool.total_credits - adopted.allocated_credits, adopted.available_credits)
    ) AS figure (name, before, after)
  WHERE figure.before IS DISTINCT FROM figure.after
  UNION ALL
  SELECT
    'users.credits',
    person.id::TEXT,
    coalesce(entries.balance, person.credits, 0)::TEXT,
    adopted.credits::TEXT
  FROM old_users AS person
  LEFT JOIN public.users AS adopted ON adopted.id = person.id
  LEFT JOIN (
    SELECT
      entry.user_id,
      sum(entry.amount) AS balance
    FROM old_credits_transactions AS entry
    GROUP BY entry.user_id
  ) AS entries ON entries.user_id = person.id
  WHERE coalesce(entries.balance, person.credits, 0) IS DISTINCT FROM adopted.credits
) AS differing
ORDER BY differing.place, differing.owner
LIMIT 10;
