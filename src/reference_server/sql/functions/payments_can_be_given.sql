-- Whether credits could be given to a customer now: who was switched off, closed or moved could not have what
-- they paid for. What was moved has its pool in another database.
CREATE OR REPLACE FUNCTION payments.can_be_given(customer_id TEXT) RETURNS BOOLEAN
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
SELECT
  coalesce(organization.status = 'active', person.is_active)
  AND NOT coalesce(ledger.is_elsewhere(customer.org_id), FALSE)
FROM public.stripe_customers AS customer
LEFT JOIN public.organizations AS organization ON organization.id = customer.org_id
LEFT JOIN public.users AS person ON person.id = customer.user_id
WHERE customer.customer_id = can_be_given.customer_id
$$;

REVOKE ALL ON FUNCTION payments.can_be_given FROM PUBLIC;
