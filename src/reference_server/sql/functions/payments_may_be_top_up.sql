-- Whether a customer has a top-up of which it is not known yet which payment it is.
CREATE OR REPLACE FUNCTION payments.may_be_top_up(customer_id TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN EXISTS (
    SELECT FROM public.top_ups AS row
    WHERE row.customer_id = may_be_top_up.customer_id AND row.status = 'open' AND row.payment_id IS NULL
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.may_be_top_up FROM PUBLIC;
