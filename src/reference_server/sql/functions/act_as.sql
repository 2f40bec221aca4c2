-- Say for whom the rest of the transaction acts: `actor`, `actor_kind` and `request_id` of the audit, until
-- the transaction ends or somebody else is named. Answers who it was before.
CREATE OR REPLACE FUNCTION ledger.act_as(who JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _before CONSTANT JSONB := jsonb_build_object(
    'actor', current_setting('credits.actor', TRUE),
    'actor_kind', current_setting('credits.actor_kind', TRUE),
    'request_id', current_setting('credits.request_id', TRUE)
  );
BEGIN
  PERFORM set_config('credits.actor', coalesce(who ->> 'actor', ''), TRUE);
  PERFORM set_config('credits.actor_kind', coalesce(who ->> 'actor_kind', ''), TRUE);
  PERFORM set_config('credits.request_id', coalesce(who ->> 'request_id', ''), TRUE);
  RETURN _before;
END;
$$;

REVOKE ALL ON FUNCTION ledger.act_as FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.act_as TO credits_app;
