-- The names of the values of `ledger.entry_of`, in their order.
CREATE OR REPLACE FUNCTION ledger.entry_names(kind TEXT) RETURNS TEXT[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind
  WHEN 'charge'
    THEN ARRAY[
      'id', 'org_id', 'user_id', 'allocation_id', 'credits_used', 'service_type', 'service_name',
      'api_cost', 'markup_applied', 'request_id', 'request_metadata', 'refund_of', 'hold_id',
      'remaining_after', 'refundable_after', 'created_at', 'api_key_id'
    ]
  WHEN 'billing_event'
    THEN ARRAY[
      'id', 'org_id', 'subscription_id', 'event_type', 'amount', 'currency', 'credits', 'request_id',
      'payment_status', 'payment_method', 'paid_at', 'period_start', 'period_end', 'event_metadata',
      'notes', 'created_at'
    ]
END;

REVOKE ALL ON FUNCTION ledger.entry_names FROM PUBLIC;
