-- Give a member a share of the pool, or a larger one.
CREATE OR REPLACE FUNCTION ledger.allocate(
  org_id TEXT,
  user_id TEXT,
  allocated_credits BIGINT,
  reset_period TEXT DEFAULT NULL,
  notes TEXT DEFAULT NULL,
  allocated_by TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL
) RETURNS ledger.allocation_change
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM public.organization_members AS member
    WHERE member.org_id = allocate.org_id AND member.user_id = allocate.user_id
  ) THEN
    PERFORM ledger.refuse(ledger.not_a_member_problem(allocate.org_id, allocate.user_id));
  END IF;
  RETURN ledger.enlarge_allocation(
    allocate.org_id, allocate.user_id, allocate.allocated_credits, allocate.reset_period,
    allocate.notes, allocate.allocated_by, allocate.request_id
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.allocate FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.allocate TO credits_app;
