-- An open top-up failed: the card was refused, or its owner has to be asked. The third failure in a row
-- switches the customer's top-ups off, and an alert tells of it, once until it is set anew. What fails with
-- another payment method than the settings' counts for nothing.
CREATE OR REPLACE FUNCTION payments.fail_top_up(top_up_id UUID, reason TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _most_failures CONSTANT INTEGER := 3;
  _failed public.top_ups;
  _setting public.top_up_settings;
  _alert public.credit_alerts;
BEGIN
  UPDATE public.top_ups AS row
  SET status = 'failed', error = left(fail_top_up.reason, 100), updated_at = ledger.now()
  WHERE row.id = fail_top_up.top_up_id AND row.status = 'open'
  RETURNING row.* INTO _failed;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  UPDATE public.top_up_settings AS setting
  SET
    failures = setting.failures + 1,
    is_active = setting.failures + 1 < _most_failures,
    updated_at = ledger.now()
  WHERE setting.customer_id = _failed.customer_id AND setting.payment_method = _failed.payment_method
  RETURNING setting.* INTO _setting;
  IF _setting.is_active IS NOT FALSE THEN
    RETURN TRUE;
  END IF;
  INSERT INTO public.credit_alerts AS alert (org_id, kind, subject, threshold, detail)
  SELECT
    customer.org_id, 'top_up.failed', coalesce(ledger.user_name(person), ''), _setting.threshold,
    format('Buying by itself is switched off after %s failures: %s.', _setting.failures, fail_top_up.reason)
  FROM public.stripe_customers AS customer
  LEFT JOIN public.users AS person ON person.id = customer.user_id
  WHERE customer.customer_id = _failed.customer_id
  ON CONFLICT (coalesce(org_id, ''), kind, subject) WHERE cleared_at IS NULL DO NOTHING
  RETURNING alert.* INTO _alert;
  IF _alert.id IS NOT NULL THEN
    PERFORM alerts.announce(_alert);
  END IF;
  RETURN TRUE;
END;
$$;

REVOKE ALL ON FUNCTION payments.fail_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.fail_top_up TO credits_app;
