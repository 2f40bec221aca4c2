-- Make the partition of a month, which is given by its beginning, unless there is one.
CREATE OR REPLACE FUNCTION ledger.require_archive_of(month TIMESTAMPTZ) RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
  _name CONSTANT TEXT := 'credit_usage_archive_' || to_char(require_archive_of.month, 'YYYY_MM');
BEGIN
  IF to_regclass('public.' || _name) IS NOT NULL THEN
    RETURN;
  END IF;
  -- Attaching lets others read meanwhile; making it a partition at once would not.
  EXECUTE format('CREATE TABLE public.%I (LIKE public.credit_usage_archive INCLUDING ALL)', _name);
  EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', _name);
  EXECUTE format(
    'ALTER TABLE public.credit_usage_archive ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
    _name, require_archive_of.month, require_archive_of.month + INTERVAL '1 month'
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.require_archive_of FROM PUBLIC;
