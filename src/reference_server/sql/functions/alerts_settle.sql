-- Write down what came of an attempt, unless its lease was over and somebody else has it by now. Waits grow
-- fourfold from five seconds up to eight hours, of which between a half and all is waited. After ten
-- attempts the delivery is dead, until an administrator asks for it again.
CREATE OR REPLACE FUNCTION alerts.settle(
  delivery_id UUID, lease UUID, is_delivered BOOLEAN, status INTEGER, error TEXT
) RETURNS TEXT
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _now CONSTANT TIMESTAMPTZ := ledger.now();
  _most_attempts CONSTANT INTEGER := 10;
  _status TEXT;
BEGIN
  UPDATE public.webhook_deliveries AS delivery
  SET
    lease = NULL,
    status = CASE
      WHEN settle.is_delivered THEN 'delivered'
      WHEN delivery.attempts >= _most_attempts * (1 + delivery.redeliveries) THEN 'dead'
      ELSE 'pending'
    END,
    delivered_at = CASE WHEN settle.is_delivered THEN _now END,
    next_attempt_at = _now + make_interval(
      secs => least(5 * 4 ^ ((delivery.attempts - 1) % _most_attempts), 28800) * (0.5 + random() / 2)
    ),
    last_status = settle.status,
    last_error = left(settle.error, 500)
  WHERE delivery.id = settle.delivery_id AND delivery.lease = settle.lease
  RETURNING delivery.status INTO _status;
  RETURN coalesce(_status, 'lost');
END;
$$;

REVOKE ALL ON FUNCTION alerts.settle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION alerts.settle TO credits_app;
