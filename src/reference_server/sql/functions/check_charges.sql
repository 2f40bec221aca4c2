-- Which of some request ids have charged a member already. Ids of others are answered as if they had not.
CREATE OR REPLACE FUNCTION ledger.check_charges(
  org_id TEXT, user_id TEXT, request_ids JSONB, OUT document JSONB
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  PERFORM ledger.require_standing(check_charges.org_id, check_charges.user_id);
  SELECT jsonb_build_object('request_ids', coalesce(jsonb_agg(asked.request_id ORDER BY asked.place), '[]'))
  INTO document
  FROM jsonb_array_elements_text(check_charges.request_ids) WITH ORDINALITY AS asked (request_id, place)
  INNER JOIN public.credit_usage_attribution AS charge
    ON charge.org_id = check_charges.org_id AND charge.request_id = asked.request_id
  WHERE charge.user_id = check_charges.user_id AND charge.refund_of IS NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.check_charges FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.check_charges TO credits_app;
