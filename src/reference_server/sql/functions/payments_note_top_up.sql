-- Write down which payment a top-up is.
CREATE OR REPLACE FUNCTION payments.note_top_up(top_up_id UUID, payment_id TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  UPDATE public.top_ups AS row
  SET payment_id = note_top_up.payment_id, updated_at = ledger.now()
  WHERE row.id = note_top_up.top_up_id AND row.payment_id IS NULL;
  RETURN FOUND;
END;
$$;

REVOKE ALL ON FUNCTION payments.note_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.note_top_up TO credits_app;
