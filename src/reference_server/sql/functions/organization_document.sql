-- An organisation as one of its members sees it, or as others do, who have no role in it.
CREATE OR REPLACE FUNCTION ledger.organization_document(
  organization public.organizations, role TEXT DEFAULT NULL, is_default BOOLEAN DEFAULT FALSE
) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN jsonb_build_object(
    'org_id', organization.id,
    'name', organization.name,
    'display_name', organization.display_name,
    'slug', organization.slug,
    'plan_tier', organization.plan_tier,
    'max_seats', organization.max_seats,
    'status', organization.status,
    'role', role,
    'is_default', coalesce(is_default, FALSE),
    'created_at', organization.created_at
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.organization_document FROM PUBLIC;
