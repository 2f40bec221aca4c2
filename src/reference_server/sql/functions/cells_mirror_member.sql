-- In the home database: keep a member of an organisation that lives elsewhere, as that cell has it, for who
-- logs in here.
CREATE OR REPLACE FUNCTION cells.mirror_member(
  org_id TEXT, user_id TEXT, role TEXT, is_default BOOLEAN, joined_at TIMESTAMPTZ
) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM set_config('credits.mirroring', 'on', TRUE);
  INSERT INTO public.organization_members AS member (org_id, user_id, role, is_default, joined_at)
  SELECT
    place.org_id, mirror_member.user_id, mirror_member.role,
    mirror_member.is_default, mirror_member.joined_at
  FROM public.organization_cells AS place
  WHERE place.org_id = mirror_member.org_id AND NOT place.is_here
  ON CONFLICT ON CONSTRAINT organization_members_pkey DO UPDATE
  SET role = excluded.role, is_default = excluded.is_default;
  PERFORM set_config('credits.mirroring', '', TRUE);
END;
$$;

REVOKE ALL ON FUNCTION cells.mirror_member FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cells.mirror_member TO credits_app;
