-- Invariant: a checkout gives what was sold when it was opened, to the customer who opened it, and only
-- when it is paid, in the currency of the price and in full. A subscription's credits come with its invoices.
CREATE OR REPLACE FUNCTION payments.apply_session(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _session_id CONSTANT TEXT := facts ->> 'session_id';
  _checkout public.stripe_checkouts;
BEGIN
  SELECT row.* INTO _checkout FROM public.stripe_checkouts AS row WHERE row.session_id = _session_id;
  IF NOT FOUND THEN
    -- The server opened it and ended before it could note the session's id.
    UPDATE public.stripe_checkouts AS row
    SET session_id = _session_id
    WHERE row.id::TEXT = facts ->> 'reference' AND row.session_id IS NULL
    RETURNING row.* INTO _checkout;
  END IF;
  IF _checkout.id IS NULL THEN
    RETURN payments.outcome('unmatched', format('The session %s is none of this server''s.', _session_id));
  ELSIF _checkout.customer_id IS DISTINCT FROM facts ->> 'customer_id' THEN
    RETURN payments.outcome('refused', format(
      'The session %s was opened for the customer %s, not for %s.',
      _session_id, _checkout.customer_id, coalesce(facts ->> 'customer_id', 'nobody')
    ));
  ELSIF facts ->> 'ended' IS NOT NULL THEN
    UPDATE public.stripe_checkouts AS row
    SET status = facts ->> 'ended', updated_at = ledger.now()
    WHERE row.id = _checkout.id AND row.status = 'open';
    RETURN payments.outcome('applied', 'Nothing was paid.');
  ELSIF (facts ->> 'payment_status') IS DISTINCT FROM 'paid' THEN
    RETURN payments.outcome('kept', 'Nothing was paid (yet).');
  ELSIF _checkout.mode = 'payment' AND facts ->> 'currency' IS DISTINCT FROM _checkout.currency THEN
    RETURN payments.outcome('refused', format(
      'The session %s was paid in %s; its price is in %s.',
      _session_id, coalesce(facts ->> 'currency', 'no currency'), _checkout.currency
    ));
  ELSIF
    _checkout.mode = 'payment'
    AND coalesce((facts ->> 'amount_cents')::BIGINT, 0) < greatest(_checkout.price_cents, 1)
  THEN
    RETURN payments.outcome('refused', format(
      'The session %s was paid with %s; its price is %s.',
      _session_id, coalesce(facts ->> 'amount_cents', 'nothing'), _checkout.price_cents
    ));
  END IF;

  UPDATE public.stripe_checkouts AS row
  SET status = 'paid', updated_at = ledger.now()
  WHERE row.id = _checkout.id;
  IF _checkout.mode = 'subscription' THEN
    RETURN payments.outcome('applied', 'The credits of a subscription come with its invoices.');
  END IF;
  RETURN payments.grant_once(
    facts || jsonb_build_object(
      'source_id', _session_id,
      'package_id', _checkout.package_id,
      'credits', _checkout.credits,
      'transaction_type', 'purchase'
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_session FROM PUBLIC;
