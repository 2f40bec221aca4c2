-- Invariant: a paid invoice of a subscription gives the credits of its packages, once. Whose it is says the
-- customer. A trial's invoice is paid with nothing, and gives nothing.
CREATE OR REPLACE FUNCTION payments.apply_invoice(facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _package_id TEXT;
  _currency TEXT;
  _credits NUMERIC;
BEGIN
  IF (facts ->> 'status') IS DISTINCT FROM 'paid' OR coalesce((facts ->> 'amount_cents')::BIGINT, 0) <= 0 THEN
    RETURN payments.outcome('kept', 'Nothing was paid.');
  END IF;
  PERFORM FROM public.stripe_customers AS customer WHERE customer.customer_id = facts ->> 'customer_id';
  IF NOT FOUND THEN
    RETURN payments.outcome('unmatched', format(
      'The customer %s is none of this server''s.', coalesce(facts ->> 'customer_id', 'nobody')
    ));
  END IF;

  SELECT min(package.id), min(package.currency), sum(package.credits * line.quantity)
  INTO _package_id, _currency, _credits
  FROM jsonb_to_recordset(facts -> 'lines') AS line (price_id TEXT, quantity BIGINT)
  INNER JOIN public.credit_packages AS package
    ON package.stripe_price_id = line.price_id AND package.renews_every IS NOT NULL
  WHERE line.quantity > 0;
  IF _package_id IS NULL THEN
    RETURN payments.outcome('unmatched', format(
      'The invoice %s is for no package that renews.', facts ->> 'invoice_id'
    ));
  ELSIF facts ->> 'currency' IS DISTINCT FROM _currency THEN
    RETURN payments.outcome('refused', format(
      'The invoice %s was paid in %s; the package %s is sold in %s.',
      facts ->> 'invoice_id', coalesce(facts ->> 'currency', 'no currency'), _package_id, _currency
    ));
  END IF;
  RETURN payments.grant_once(
    facts || jsonb_build_object(
      'source_id', facts -> 'invoice_id',
      'package_id', _package_id,
      'credits', _credits,
      'transaction_type', 'subscription'
    )
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.apply_invoice FROM PUBLIC;
