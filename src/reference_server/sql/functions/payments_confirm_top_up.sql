-- Invariant: nobody is charged by itself for what they do not want any more. Answers whether Stripe may be
-- asked for a top-up: it is open, and the settings are still for this package, with this payment method and
-- within the month's most. Otherwise it is given up, which is no failure of the card.
CREATE OR REPLACE FUNCTION payments.confirm_top_up(top_up_id UUID) RETURNS BOOLEAN
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _top_up public.top_ups;
  _is_wanted BOOLEAN;
BEGIN
  SELECT row.* INTO _top_up
  FROM public.top_ups AS row
  WHERE row.id = confirm_top_up.top_up_id AND row.status = 'open' AND row.payment_id IS NULL
  FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  _is_wanted := EXISTS (
    SELECT FROM public.top_up_settings AS setting
    WHERE setting.customer_id = _top_up.customer_id
      AND setting.is_active
      AND setting.package_id = _top_up.package_id
      AND setting.payment_method = _top_up.payment_method
      AND setting.monthly_cents >= (
        SELECT sum(bought.price_cents)
        FROM public.top_ups AS bought
        WHERE bought.customer_id = _top_up.customer_id
          AND bought.status <> 'failed'
          AND bought.created_at >= date_trunc('month', _top_up.created_at, 'UTC')
      )
  ) AND coalesce(payments.can_be_given(_top_up.customer_id), FALSE);
  IF NOT _is_wanted THEN
    UPDATE public.top_ups AS row
    SET status = 'failed', error = 'withdrawn', updated_at = ledger.now()
    WHERE row.id = _top_up.id;
  END IF;
  RETURN _is_wanted;
END;
$$;

REVOKE ALL ON FUNCTION payments.confirm_top_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.confirm_top_up TO credits_app;
