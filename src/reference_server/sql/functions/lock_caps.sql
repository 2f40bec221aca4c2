-- Lock the caps that charges and holds of some members count against: those of the organisation, of the
-- members, of the keys that are used, and of the keys of the members' holds that are overdue at a moment, so
-- that these can be given back without a further lock. All in one order, after the allocations, which the
-- caller has locked: so nobody waits in a circle.
CREATE OR REPLACE FUNCTION ledger.lock_caps(
  org_id TEXT, allocation_ids UUID[], api_key_ids TEXT[] DEFAULT '{}', overdue_at TIMESTAMPTZ DEFAULT NULL
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM (
    SELECT 'organization' AS scope, '' AS subject
    UNION
    SELECT 'member', allocation.user_id
    FROM public.user_credit_allocations AS allocation
    WHERE allocation.org_id = lock_caps.org_id AND allocation.id = ANY(lock_caps.allocation_ids)
    UNION
    SELECT 'api_key', used.api_key_id
    FROM unnest(lock_caps.api_key_ids) AS used (api_key_id)
    UNION
    SELECT 'api_key', hold.api_key_id
    FROM public.credit_holds AS hold
    INNER JOIN public.user_credit_allocations AS allocation
      ON allocation.org_id = hold.org_id AND allocation.user_id = hold.user_id
    WHERE hold.status = 'held'
      AND hold.expires_at <= lock_caps.overdue_at
      AND hold.org_id = lock_caps.org_id
      AND allocation.id = ANY(lock_caps.allocation_ids)
  ) AS place
  INNER JOIN public.credit_caps AS cap
    ON cap.org_id = lock_caps.org_id AND cap.scope = place.scope AND cap.subject = place.subject
  ORDER BY cap.scope, cap.subject, cap.period
  FOR NO KEY UPDATE OF cap;
END;
$$;

REVOKE ALL ON FUNCTION ledger.lock_caps FROM PUBLIC;
