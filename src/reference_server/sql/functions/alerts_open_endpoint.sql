-- Make an endpoint with a secret of 244 random bits. The same request again answers the same endpoint.
CREATE OR REPLACE FUNCTION alerts.open_endpoint(
  org_id TEXT, url TEXT, events JSONB, request_id TEXT
) RETURNS public.webhook_endpoints
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _endpoint public.webhook_endpoints;
  _events CONSTANT TEXT[] := ARRAY(
    SELECT DISTINCT event.name FROM jsonb_array_elements_text(open_endpoint.events) AS event (name) ORDER BY event.name
  );
BEGIN
  INSERT INTO public.webhook_endpoints (org_id, url, events, secret, request_id)
  VALUES (
    open_endpoint.org_id, open_endpoint.url, _events,
    'whsec_' || encode(
      sha256((gen_random_uuid()::TEXT || gen_random_uuid()::TEXT)::BYTEA), 'base64'
    ),
    open_endpoint.request_id
  )
  ON CONFLICT (coalesce(org_id, ''), request_id) DO NOTHING
  RETURNING * INTO _endpoint;
  IF _endpoint.id IS NULL THEN
    SELECT endpoint.* INTO _endpoint
    FROM public.webhook_endpoints AS endpoint
    WHERE coalesce(endpoint.org_id, '') = coalesce(open_endpoint.org_id, '')
      AND endpoint.request_id = open_endpoint.request_id;
    IF (_endpoint.url, _endpoint.events) IS DISTINCT FROM (open_endpoint.url, _events) THEN
      PERFORM ledger.refuse(ledger.problem(
        'idempotency_conflict',
        format('The request id %s made an endpoint with other content.', open_endpoint.request_id)
      ));
    END IF;
  END IF;
  RETURN _endpoint;
END;
$$;

REVOKE ALL ON FUNCTION alerts.open_endpoint FROM PUBLIC;
