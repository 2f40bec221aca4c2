-- Notes for which application a charge was taken; repeating it changes nothing.
CREATE OR REPLACE FUNCTION identity.note_app_usage(app_id TEXT, transaction_id BIGINT) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO public.app_credit_usage (transaction_id, app_id, user_id, credits, service, created_at)
  SELECT t.id, note_app_usage.app_id, t.user_id, -t.amount, t.service_type, t.created_at
  FROM public.credits_transactions AS t
  WHERE t.id = note_app_usage.transaction_id AND t.amount < 0
  ON CONFLICT DO NOTHING;
END;
$$;

REVOKE ALL ON FUNCTION identity.note_app_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.note_app_usage TO credits_app;
