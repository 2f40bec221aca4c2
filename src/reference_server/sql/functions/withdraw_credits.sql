-- Invariant: a pool holds the sum of its history. Takes what is left of some millicredits out of a pool, and
-- answers how much that was: what is allocated to members stays theirs.
CREATE OR REPLACE FUNCTION ledger.withdraw_credits(org_id TEXT, credits BIGINT, event_metadata JSONB)
RETURNS BIGINT
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _taken BIGINT;
BEGIN
  -- The lock first: allocations and grants of the organisation stand in line behind it.
  PERFORM FROM public.credit_pools AS pool WHERE pool.org_id = withdraw_credits.org_id FOR NO KEY UPDATE;
  SELECT least(withdraw_credits.credits, pool.available_credits) INTO _taken
  FROM public.organization_credit_pools AS pool
  INNER JOIN public.organizations AS organization ON organization.id = pool.org_id
  WHERE pool.org_id = withdraw_credits.org_id AND organization.status <> 'deleted';
  IF coalesce(_taken, 0) <= 0 THEN
    RETURN 0;
  END IF;
  UPDATE public.credit_pools AS pool
  SET total_credits = pool.total_credits - _taken, updated_at = ledger.now()
  WHERE pool.org_id = withdraw_credits.org_id;
  INSERT INTO public.org_billing_history (org_id, event_type, credits, event_metadata)
  VALUES (withdraw_credits.org_id, 'credit_refund', -_taken, withdraw_credits.event_metadata);
  RETURN _taken;
END;
$$;

REVOKE ALL ON FUNCTION ledger.withdraw_credits FROM PUBLIC;
