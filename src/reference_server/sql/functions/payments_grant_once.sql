-- Invariant: a session or an invoice gives credits once, and a payment pays for one of them. The credits go
-- to the user or the organisation that the customer stands for; what has already gone back is taken at once.
CREATE OR REPLACE FUNCTION payments.grant_once(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _source_id CONSTANT TEXT := facts ->> 'source_id';
  _payment_id TEXT;
  _grant public.stripe_grants;
BEGIN
  INSERT INTO public.stripe_grants AS row (
    source_id, event_id, customer_id, package_id, credits, amount_cents, currency
  ) VALUES (
    _source_id, facts ->> 'event_id', facts ->> 'customer_id', facts ->> 'package_id',
    (facts ->> 'credits')::NUMERIC, (facts ->> 'amount_cents')::BIGINT, facts ->> 'currency'
  )
  ON CONFLICT (source_id) DO NOTHING
  RETURNING row.* INTO _grant;
  IF NOT FOUND THEN
    RETURN payments.outcome('applied', format('The credits of %s were given before.', _source_id));
  END IF;
  FOR _payment_id IN SELECT jsonb_array_elements_text(facts -> 'payment_ids')
  LOOP
    PERFORM payments.link_payment(_payment_id, _source_id);
  END LOOP;
  PERFORM payments.give(_grant, _grant.credits, facts ->> 'transaction_type');
  PERFORM payments.settle(_source_id);
  RETURN payments.outcome('applied');
END;
$$;

REVOKE ALL ON FUNCTION payments.grant_once FROM PUBLIC;
