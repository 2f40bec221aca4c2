-- Invariant: a user or an organisation is one customer. Answers which: who comes second gets the first one's.
CREATE OR REPLACE FUNCTION payments.keep_customer(customer_id TEXT, user_id BIGINT, org_id TEXT) RETURNS TEXT
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO public.stripe_customers (customer_id, user_id, org_id)
  VALUES (keep_customer.customer_id, keep_customer.user_id, keep_customer.org_id)
  ON CONFLICT DO NOTHING;
  RETURN (
    SELECT customer.customer_id
    FROM public.stripe_customers AS customer
    WHERE customer.user_id = keep_customer.user_id OR customer.org_id = keep_customer.org_id
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.keep_customer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.keep_customer TO credits_app;
