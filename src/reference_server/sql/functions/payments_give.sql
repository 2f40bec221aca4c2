-- Credits of a payment, into the balance or the pool that its customer stands for, with their history. The
-- request id is nobody else's: whoever knows the payment's could have used it up. An organisation's history
-- counts money in USD; a purchase in another currency stands there as a grant.
CREATE OR REPLACE FUNCTION payments.give(paid public.stripe_grants, credits NUMERIC, transaction_type TEXT)
RETURNS VOID
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _millicredits CONSTANT BIGINT := (give.credits * 1000)::BIGINT;
  _request_id CONSTANT TEXT := 'stripe_' || gen_random_uuid();
  _customer public.stripe_customers;
  _package public.credit_packages;
  _is_sale CONSTANT BOOLEAN := give.transaction_type <> 'refund';
BEGIN
  SELECT row.* INTO _package FROM public.credit_packages AS row WHERE row.id = paid.package_id;
  SELECT row.* INTO _customer FROM public.stripe_customers AS row WHERE row.customer_id = paid.customer_id;
  IF _customer.org_id IS NOT NULL THEN
    PERFORM ledger.add_credits(
      _customer.org_id,
      _millicredits,
      CASE WHEN _is_sale AND paid.currency = 'usd' THEN paid.amount_cents / 100.0 ELSE 0 END,
      _request_id,
      expires_in_days => CASE WHEN _is_sale THEN _package.expires_in_days END
    );
    RETURN;
  END IF;
  PERFORM ledger.grant_credits(
    _customer.user_id::TEXT,
    _millicredits,
    CASE WHEN _is_sale THEN 'Credit purchase via Stripe: ' ELSE 'Dispute won: ' END || _package.name,
    give.transaction_type,
    NULL,
    _request_id,
    jsonb_build_object('stripe_source_id', paid.source_id, 'package_id', paid.package_id),
    expires_in_days => CASE WHEN _is_sale THEN _package.expires_in_days END
  );
END;
$$;

REVOKE ALL ON FUNCTION payments.give FROM PUBLIC;
