-- Callers whose organisation ids are of type UUID: the documents' functions, which take them as text.
CREATE FUNCTION public.has_sufficient_credits(org_id UUID, user_id TEXT, credits BIGINT) RETURNS BOOLEAN
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.has_sufficient_credits(org_id::TEXT, user_id, credits) $$;

CREATE FUNCTION public.deduct_credits(
  org_id UUID,
  user_id TEXT,
  credits BIGINT,
  service_type TEXT,
  service_name TEXT DEFAULT NULL,
  request_id TEXT DEFAULT NULL,
  request_metadata JSONB DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE sql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT public.deduct_credits(
  org_id::TEXT, user_id, credits, service_type, service_name, request_id, request_metadata
)
$$;

CREATE FUNCTION public.add_credits_to_pool(org_id UUID, credits BIGINT, purchase_amount NUMERIC DEFAULT 0)
RETURNS BOOLEAN
LANGUAGE sql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.add_credits_to_pool(org_id::TEXT, credits, purchase_amount) $$;

CREATE FUNCTION public.allocate_credits_to_user(
  org_id UUID, user_id TEXT, credits BIGINT, allocated_by TEXT DEFAULT NULL
) RETURNS BOOLEAN
LANGUAGE sql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.allocate_credits_to_user(org_id::TEXT, user_id, credits, allocated_by) $$;

REVOKE ALL ON FUNCTION
public.has_sufficient_credits(UUID, TEXT, BIGINT),
public.deduct_credits(UUID, TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB),
public.add_credits_to_pool(UUID, BIGINT, NUMERIC),
public.allocate_credits_to_user(UUID, TEXT, BIGINT, TEXT)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
public.has_sufficient_credits(UUID, TEXT, BIGINT),
public.deduct_credits(UUID, TEXT, BIGINT, TEXT, TEXT, TEXT, JSONB),
public.add_credits_to_pool(UUID, BIGINT, NUMERIC),
public.allocate_credits_to_user(UUID, TEXT, BIGINT, TEXT)
TO credits_app;
