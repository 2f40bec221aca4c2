-- What `ledger.forecast` answers. Credits are millicredits; days may be broken.
CREATE TYPE ledger.forecast AS (
  org_id TEXT,
  user_id TEXT,
  remaining_credits BIGINT,
  credits_per_day BIGINT,
  observed_days NUMERIC,
  days_left NUMERIC,
  exhausted_at TIMESTAMPTZ
);
