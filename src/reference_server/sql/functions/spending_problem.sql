-- Why a member cannot spend this much now; NULL when nothing speaks against it.
-- `own_hold` are the credits of the hold that is being captured: they are the member's already.
CREATE OR REPLACE FUNCTION ledger.spending_problem(
  org_id TEXT, user_id TEXT, credits BIGINT, own_hold BIGINT DEFAULT 0
) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _account RECORD;
  _available BIGINT;
BEGIN
  SELECT
    organization.status,
    allocation.id,
    allocation.is_active,
    allocation.next_reset_date,
    allocation.allocated_credits - allocation.used_credits - allocation.held_credits AS free,
    member.user_id IS NOT NULL AS is_member
  INTO _account
  FROM public.organizations AS organization
  LEFT JOIN public.user_credit_allocations AS allocation
    ON allocation.org_id = organization.id AND allocation.user_id = spending_problem.user_id
  LEFT JOIN public.organization_members AS member
    ON member.org_id = organization.id AND member.user_id = spending_problem.user_id
  WHERE organization.id = spending_problem.org_id;

  IF _account.id IS NULL AND _account.is_member IS NOT TRUE THEN
    RETURN ledger.not_a_member_problem(spending_problem.org_id, spending_problem.user_id);
  ELSIF _account.status <> 'active' THEN
    RETURN ledger.inactive_problem(spending_problem.org_id, _account.status);
  ELSIF _account.id IS NULL THEN
    RETURN ledger.no_allocation_problem(spending_problem.org_id, spending_problem.user_id);
  ELSIF NOT _account.is_active THEN
    RETURN ledger.problem(
      'no_allocation',
      format(
        'No credit allocation: the allocation of user %s in organisation %s is not active.',
        spending_problem.user_id, spending_problem.org_id
      ),
      '{"limit": "inactive"}'
    );
  END IF;

  _available := _account.free + ledger.overage(spending_problem.org_id) + spending_problem.own_hold;
  IF spending_problem.credits <= _available THEN
    RETURN NULL;
  END IF;
  RETURN ledger.insufficient_problem(
    CASE
      WHEN spending_problem.own_hold > 0 THEN 'hold'
      WHEN ledger.overage(spending_problem.org_id) > 0 THEN 'overage'
      ELSE 'allocation'
    END,
    spending_problem.org_id,
    spending_problem.user_id,
    spending_problem.credits,
    -- The hold stays whatever the allocation lacks.
    greatest(_available, spending_problem.own_hold),
    _account.next_reset_date
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.spending_problem FROM PUBLIC;
