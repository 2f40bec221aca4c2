-- A position in a list, opaque to callers: base64url without padding.
CREATE OR REPLACE FUNCTION ledger.write_cursor(location TEXT) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rtrim(translate(encode(convert_to(location, 'UTF8'), 'base64'), E'+/\n', '-_'), '=');

REVOKE ALL ON FUNCTION ledger.write_cursor FROM PUBLIC;
