-- The billing screen of a user, or of whoever a session belongs to (SHA-256 of its token, in hex).
CREATE OR REPLACE FUNCTION ledger.get_user_billing(
  user_id TEXT DEFAULT NULL, session_digest TEXT DEFAULT NULL, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _user_id CONSTANT TEXT := coalesce(
    get_user_billing.user_id, ledger.user_of_session(get_user_billing.session_digest)
  );
  _since CONSTANT TIMESTAMPTZ := ledger.now() - INTERVAL '30 days';
BEGIN
  document := ledger.get_user_credits(_user_id) || jsonb_build_object(
    'total_usage_last_30_days',
    (
      SELECT coalesce(sum(charge.credits_used), 0)::BIGINT
      FROM public.user_credit_allocations AS allocation
      INNER JOIN public.credit_usage_attribution AS charge ON charge.allocation_id = allocation.id
      WHERE allocation.user_id = _user_id AND NOT allocation.moved AND charge.created_at >= _since
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_user_billing FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_user_billing TO credits_app;
