-- Let an organisation buy nothing by itself any more; repeating it changes nothing.
CREATE OR REPLACE FUNCTION ledger.remove_top_up(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_open_organization(remove_top_up.org_id);
  PERFORM payments.set_top_up(customer.customer_id, NULL, NULL, NULL, NULL)
  FROM public.stripe_customers AS customer
  WHERE customer.org_id = remove_top_up.org_id;
  document := ledger.get_top_up(remove_top_up.org_id);
END;
$$;

REVOKE ALL ON FUNCTION ledger.remove_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.remove_top_up TO credits_app;
