-- Whether a user's password is still the one whose hash this is; with NULL, whichever it is. The row is
-- locked until the end of the transaction, so that nobody changes it meanwhile. Who is switched off has none.
CREATE OR REPLACE FUNCTION identity.still_has_password(user_id BIGINT, password_hash TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.users AS person
  WHERE person.id = still_has_password.user_id
    AND person.is_active
    AND (still_has_password.password_hash IS NULL OR person.password_hash = still_has_password.password_hash)
  FOR SHARE;
  RETURN FOUND;
END;
$$;

REVOKE ALL ON FUNCTION identity.still_has_password FROM PUBLIC;
