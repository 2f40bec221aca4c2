-- Take back what is left of some credits, and answer how much that was. What is held or allocated stays: it
-- is promised to somebody. Of a user who was switched off, and of a deleted organisation, nothing is taken.
CREATE OR REPLACE FUNCTION payments.take_back(paid public.stripe_grants, credits NUMERIC) RETURNS NUMERIC
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _customer public.stripe_customers;
  _person public.users;
  _taken NUMERIC;
BEGIN
  SELECT row.* INTO _customer FROM public.stripe_customers AS row WHERE row.customer_id = paid.customer_id;
  IF _customer.org_id IS NOT NULL THEN
    RETURN ledger.withdraw_credits(
      _customer.org_id, (take_back.credits * 1000)::BIGINT, jsonb_build_object('stripe_source_id', paid.source_id)
    ) / 1000.0;
  END IF;
  PERFORM ledger.expire_balance_holds_of(ARRAY[_customer.user_id]);
  _person := ledger.lock_user(_customer.user_id);
  _taken := least(take_back.credits, _person.credits - _person.held_credits);
  IF _taken <= 0 OR NOT _person.is_active THEN
    RETURN 0;
  END IF;
  INSERT INTO public.credits_transactions (user_id, amount, description, transaction_type, transaction_metadata)
  VALUES (
    _person.id, -_taken, 'Payment returned via Stripe', 'refund',
    jsonb_build_object('stripe_source_id', paid.source_id)
  );
  RETURN _taken;
END;
$$;

REVOKE ALL ON FUNCTION payments.take_back FROM PUBLIC;
