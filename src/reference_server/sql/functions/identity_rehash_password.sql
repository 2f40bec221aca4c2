-- Puts a new hash of the same password in the place of an old one, unless that was changed meanwhile; answers
-- whether it did.
DROP FUNCTION IF EXISTS identity.rehash_password(BIGINT, TEXT, TEXT); -- it answered nothing

CREATE FUNCTION identity.rehash_password(user_id BIGINT, old_hash TEXT, new_hash TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _subject CONSTANT TEXT := (
    SELECT coalesce(u.subject, u.id::TEXT) FROM public.users AS u WHERE u.id = rehash_password.user_id
  );
  _caller CONSTANT JSONB := ledger.act_as(jsonb_build_object('actor', _subject, 'actor_kind', 'user'));
  _is_replaced BOOLEAN;
BEGIN
  UPDATE public.users AS u
  SET password_hash = rehash_password.new_hash
  WHERE u.id = rehash_password.user_id AND u.password_hash = rehash_password.old_hash;
  _is_replaced := FOUND;
  PERFORM ledger.act_as(_caller);
  RETURN _is_replaced;
END;
$$;

REVOKE ALL ON FUNCTION identity.rehash_password FROM PUBLIC;
GRANT EXECUTE ON FUNCTION identity.rehash_password TO credits_app;
