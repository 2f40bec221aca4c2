-- Take back what a hold counted against caps, wherever the window in which it was placed, or was last given
-- more, is still the one that is counted: what was held in a window that is over frees nothing in the next.
-- The caller holds the locks of the caps.
CREATE OR REPLACE FUNCTION ledger.give_back_to_caps(hold public.credit_holds, credits BIGINT) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  UPDATE public.credit_caps AS cap
  SET used_credits = cap.used_credits - give_back_to_caps.credits
  WHERE cap.org_id = give_back_to_caps.hold.org_id
    AND (cap.scope, cap.subject) IN (
      ('organization', ''),
      ('member', give_back_to_caps.hold.user_id),
      ('api_key', give_back_to_caps.hold.api_key_id)
    )
    AND cap.window_start = ledger.cap_window(
      cap.period, coalesce(give_back_to_caps.hold.counted_at, give_back_to_caps.hold.created_at)
    );
END;
$$;

REVOKE ALL ON FUNCTION ledger.give_back_to_caps FROM PUBLIC;
