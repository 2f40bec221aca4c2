-- Invariant: an event is applied once, however often, in whatever order and by however many servers at a
-- time it is delivered. Events are applied one after the other: what each of them finds and writes about a
-- payment, the others see. What could not be applied is kept, and tried again when it is sent again.
--
-- `facts` is what the server read out of the event; `kind` says which of the functions below knows it, and
-- NULL that nobody does. Answers the outcome and why.
CREATE OR REPLACE FUNCTION payments.receive_event(event JSONB, facts JSONB) RETURNS JSONB
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _event_id CONSTANT TEXT := event ->> 'id';
  _told_at CONSTANT TIMESTAMPTZ := to_timestamp((event ->> 'created')::BIGINT);
  _facts CONSTANT JSONB := facts || jsonb_build_object('event_id', _event_id, 'told_at', _told_at);
  _before CONSTANT JSONB := ledger.act_as('{"actor": "stripe", "actor_kind": "system"}');
  _seen public.stripe_events;
  _outcome JSONB;
BEGIN
  PERFORM pg_advisory_xact_lock(7311981);
  SELECT row.* INTO _seen FROM public.stripe_events AS row WHERE row.event_id = _event_id;
  IF _seen.outcome IN ('applied', 'kept') THEN
    PERFORM ledger.act_as(_before);
    RETURN jsonb_build_object('outcome', _seen.outcome, 'detail', _seen.detail, 'replayed', TRUE);
  END IF;
  INSERT INTO public.stripe_events (event_id, type, outcome, payment_id, payload, told_at)
  VALUES (_event_id, event ->> 'type', 'kept', facts ->> 'payment_id', event, _told_at)
  ON CONFLICT (event_id) DO NOTHING;

  BEGIN
    _outcome := CASE facts ->> 'kind'
      WHEN 'session' THEN payments.apply_session(_facts)
      WHEN 'top_up' THEN payments.apply_top_up(_facts)
      WHEN 'top_up_failed' THEN payments.apply_top_up_failure(_facts)
      WHEN 'invoice' THEN payments.apply_invoice(_facts)
      WHEN 'payment' THEN payments.apply_payment(_facts)
      WHEN 'reversal' THEN payments.apply_reversal(_facts)
      WHEN 'subscription' THEN payments.apply_subscription(_facts)
      WHEN 'unreadable' THEN payments.outcome('refused', facts ->> 'detail')
      ELSE payments.outcome('kept', 'Nothing is done about events of this type.')
    END;
  EXCEPTION
    WHEN OTHERS THEN
      -- The ledger's own refusals: what was begun is undone, and the event is kept with the reason.
      IF SQLSTATE NOT LIKE 'CR%' THEN
        RAISE;
      END IF;
      _outcome := payments.outcome('refused', SQLERRM);
  END;
  UPDATE public.stripe_events AS row
  SET outcome = _outcome ->> 'outcome', detail = _outcome ->> 'detail', updated_at = ledger.now()
  WHERE row.event_id = _event_id;
  PERFORM ledger.act_as(_before);
  RETURN _outcome || '{"replayed": false}';
END;
$$;

REVOKE ALL ON FUNCTION payments.receive_event FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.receive_event TO credits_app;
