-- The position that a cursor stands for; one that was not written by `write_cursor` for a position of
-- this pattern is refused. NULL for NULL.
CREATE OR REPLACE FUNCTION ledger.read_cursor(cursor TEXT, pattern TEXT) RETURNS TEXT
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _padded CONSTANT TEXT := translate(cursor, '-_', '+/') || repeat('=', -length(cursor) & 3);
  _position TEXT;
BEGIN
  BEGIN
    _position := convert_from(decode(_padded, 'base64'), 'UTF8');
  EXCEPTION
    WHEN data_exception THEN
      _position := '';
  END;
  IF _position !~ pattern THEN
    PERFORM ledger.refuse(ledger.problem('validation_failed', 'cursor: not a cursor of this list.'));
  END IF;
  RETURN _position;
END;
$$;

REVOKE ALL ON FUNCTION ledger.read_cursor FROM PUBLIC;
