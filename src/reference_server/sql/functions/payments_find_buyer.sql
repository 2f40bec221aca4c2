-- Who buys: a user, or an organisation when one is named. `key` is the same for whoever asks about the same
-- buyer, and `customer_id` is what Stripe calls them, if they have bought before.
CREATE OR REPLACE FUNCTION payments.find_buyer(user_id TEXT, org_id TEXT) RETURNS JSONB
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _person public.users;
BEGIN
  IF find_buyer.org_id IS NOT NULL THEN
    PERFORM ledger.require_open_organization(find_buyer.org_id);
    RETURN (
      SELECT jsonb_build_object(
        'key', 'organization-' || organization.id,
        'user_id', NULL,
        'org_id', organization.id,
        'name', coalesce(organization.display_name, organization.name),
        'email', NULL,
        'customer_id', customer.customer_id
      )
      FROM public.organizations AS organization
      LEFT JOIN public.stripe_customers AS customer ON customer.org_id = organization.id
      WHERE organization.id = find_buyer.org_id
    );
  END IF;
  _person := ledger.find_user(find_buyer.user_id);
  RETURN jsonb_build_object(
    'key', 'user-' || _person.id,
    'user_id', _person.id,
    'org_id', NULL,
    'name', _person.name,
    'email', _person.email,
    'customer_id',
    (SELECT customer.customer_id FROM public.stripe_customers AS customer WHERE customer.user_id = _person.id)
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.find_buyer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.find_buyer TO credits_app;
