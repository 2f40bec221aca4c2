-- What Stripe calls a checkout that was opened. Its event may have come first, and noted it.
CREATE OR REPLACE FUNCTION payments.note_session(checkout_id UUID, session_id TEXT) RETURNS VOID
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
UPDATE public.stripe_checkouts AS checkout
SET session_id = note_session.session_id, updated_at = ledger.now()
WHERE checkout.id = note_session.checkout_id AND checkout.session_id IS NULL
$$;

REVOKE ALL ON FUNCTION payments.note_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.note_session TO credits_app;
