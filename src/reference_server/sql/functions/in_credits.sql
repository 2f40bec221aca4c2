-- The metadata of an event, or the details of the audit, as they are answered. It is no field of its own
-- that could be converted later, so that its amounts, which are kept in millicredits like all others,
-- become credits here.
CREATE OR REPLACE FUNCTION ledger.in_credits(event_metadata JSONB) RETURNS JSONB
LANGUAGE plpgsql
IMMUTABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT coalesce(
      jsonb_object_agg(
        entry.key,
        CASE
          WHEN entry.key ~ '_credits$|^(credits|credits_used|threshold|monthly_refresh_amount|overage_limit)$'
            AND jsonb_typeof(entry.value) = 'number'
            THEN to_jsonb(trim_scale(entry.value::NUMERIC / 1000))
          ELSE entry.value
        END
      ),
      '{}'
    )
    FROM jsonb_each(in_credits.event_metadata) AS entry
  );
END;
$$;

REVOKE ALL ON FUNCTION ledger.in_credits FROM PUBLIC;
