-- What an organisation buys by itself; nothing but its id when that is nothing.
CREATE OR REPLACE FUNCTION ledger.get_top_up(org_id TEXT, OUT document JSONB)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_organization(get_top_up.org_id);
  SELECT jsonb_build_object(
    'org_id', organization.id,
    'package_id', setting.package_id,
    'payment_method', setting.payment_method,
    'threshold', setting.threshold,
    'monthly_cents', setting.monthly_cents,
    'failures', coalesce(setting.failures, 0),
    'is_active', coalesce(setting.is_active, FALSE),
    'updated_at', setting.updated_at
  ) INTO document
  FROM public.organizations AS organization
  LEFT JOIN public.stripe_customers AS customer ON customer.org_id = organization.id
  LEFT JOIN public.top_up_settings AS setting ON setting.customer_id = customer.customer_id
  WHERE organization.id = get_top_up.org_id;
END;
$$;

REVOKE ALL ON FUNCTION ledger.get_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.get_top_up TO credits_app;
