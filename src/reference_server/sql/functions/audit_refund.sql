-- Invariant: what a person gives back leaves one row that says who did. Programs give back what they took,
-- which is in the books and no administration.
--
-- The functions that refund say so themselves: a trigger would look at every charge, whose conditions cost
-- more than one of its indexes.
CREATE OR REPLACE FUNCTION ledger.audit_refund(org_id TEXT, user_id TEXT, refund JSONB) RETURNS VOID
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO public.audit_log (org_id, actor, actor_kind, action, subject, details, request_id)
  SELECT
    audit_refund.org_id, current_setting('credits.actor', TRUE), 'user', 'refund.created',
    audit_refund.user_id, jsonb_build_object('after', audit_refund.refund),
    nullif(current_setting('credits.request_id', TRUE), '')
  WHERE current_setting('credits.actor_kind', TRUE) = 'user';
$$;

REVOKE ALL ON FUNCTION ledger.audit_refund FROM PUBLIC;
