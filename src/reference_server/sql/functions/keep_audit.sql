-- Invariant: what administration changes leaves one row that says who changed what, and what was there
-- before. Written after the change, in its transaction; a change that changes nothing leaves none.
--
-- Who it was is said by `ledger.act_as`, or by SET LOCAL credits.actor; otherwise it is the role that is
-- logged in. A trigger's arguments: what its rows are, the columns that name the organisation and the
-- subject, the columns that are shown, and those of which only is said that they changed. A new column is
-- in neither of the two until somebody says that it is no secret. A customer of Stripe stands for the
-- organisation whose it is.
--
-- Charges, holds and resets change other columns than those the triggers stand at, and cost nothing. An
-- allocation or pool that is made empty gives nobody anything: what it is given first is its first row.
CREATE OR REPLACE FUNCTION ledger.keep_audit() RETURNS TRIGGER
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _old CONSTANT JSONB := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  _new CONSTANT JSONB := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
  _row CONSTANT JSONB := coalesce(_new, _old);
  _before JSONB;
  _after JSONB;
  _secrets JSONB;
BEGIN
  SELECT
    jsonb_object_agg(field.name, _old -> field.name),
    jsonb_object_agg(field.name, _new -> field.name)
  INTO _before, _after
  FROM unnest(string_to_array(TG_ARGV[3], ' ')) AS field (name)
  WHERE nullif(_old -> field.name, 'null') IS DISTINCT FROM nullif(_new -> field.name, 'null');
  IF TG_OP = 'UPDATE' THEN
    SELECT jsonb_agg(field.name) INTO _secrets
    FROM unnest(string_to_array(TG_ARGV[4], ' ')) AS field (name)
    WHERE _old -> field.name <> _new -> field.name;
    IF _after IS NULL AND _secrets IS NULL THEN
      RETURN NULL;
    END IF;
  END IF;

  INSERT INTO public.audit_log (org_id, actor, actor_kind, action, subject, details, request_id)
  VALUES (
    CASE TG_ARGV[1]
      WHEN 'customer_id' THEN (
        SELECT customer.org_id
        FROM public.stripe_customers AS customer
        WHERE customer.customer_id = _row ->> 'customer_id'
      )
      ELSE _row ->> TG_ARGV[1]
    END,
    coalesce(nullif(current_setting('credits.actor', TRUE), ''), session_user),
    coalesce(nullif(current_setting('credits.actor_kind', TRUE), ''), 'database'),
    TG_ARGV[0]
    || CASE TG_OP WHEN 'INSERT' THEN '.created' WHEN 'UPDATE' THEN '.updated' ELSE '.deleted' END,
    coalesce(_row ->> TG_ARGV[2], _row ->> 'id'),
    CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE jsonb_build_object('before', coalesce(_before, '{}')) END
    || CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE jsonb_build_object('after', coalesce(_after, '{}')) END
    || jsonb_strip_nulls(jsonb_build_object('secrets', _secrets)),
    nullif(current_setting('credits.request_id', TRUE), '')
  );
  RETURN NULL;
END;
$$;

REVOKE ALL ON FUNCTION ledger.keep_audit FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE ON public.organizations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'organization', 'id', 'id', 'name display_name slug plan_tier max_seats status', ''
);

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.organization_members
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('member', 'org_id', 'user_id', 'org_id user_id role is_default', '');

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.organization_subscriptions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'subscription', 'org_id', 'id',
  'subscription_plan monthly_price billing_cycle status trial_ends_at canceled_at '
  'stripe_subscription_id lago_subscription_id',
  ''
);

CREATE OR REPLACE TRIGGER keep_audit_on_insert
AFTER INSERT ON public.credit_pools
FOR EACH ROW
WHEN (new.total_credits > 0 OR new.monthly_refresh_amount > 0 OR new.allow_overage)
EXECUTE FUNCTION ledger.keep_audit(
  'pool', 'org_id', 'org_id',
  'total_credits monthly_refresh_amount allow_overage overage_limit overage_rate', ''
);

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER UPDATE OR DELETE ON public.credit_pools
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'pool', 'org_id', 'org_id',
  'total_credits monthly_refresh_amount allow_overage overage_limit overage_rate', ''
);

CREATE OR REPLACE TRIGGER keep_audit_on_insert
AFTER INSERT ON public.user_credit_allocations
FOR EACH ROW
WHEN (new.allocated_credits > 0 OR new.reset_period <> 'never' OR NOT new.is_active)
EXECUTE FUNCTION ledger.keep_audit(
  'allocation', 'org_id', 'user_id', 'allocated_credits reset_period is_active', ''
);

CREATE OR REPLACE TRIGGER keep_audit_on_update
AFTER UPDATE OF allocated_credits, reset_period, is_active ON public.user_credit_allocations
FOR EACH ROW
WHEN (
  (new.allocated_credits, new.reset_period, new.is_active)
  IS DISTINCT FROM (old.allocated_credits, old.reset_period, old.is_active)
)
EXECUTE FUNCTION ledger.keep_audit(
  'allocation', 'org_id', 'user_id', 'allocated_credits reset_period is_active', ''
);

CREATE OR REPLACE TRIGGER keep_audit_on_delete
AFTER DELETE ON public.user_credit_allocations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'allocation', 'org_id', 'user_id', 'allocated_credits reset_period is_active', ''
);

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OF subject, user_type, is_active, password_hash OR DELETE ON public.users
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('user', '', 'subject', 'subject user_type is_active', 'password_hash');

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.api_keys
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'api_key', 'org_id', 'id', 'name scopes org_id requests_per_minute revoked_at expires_at', 'key_digest'
);

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OF user_id, is_system_admin, expires_at, revoked_at OR DELETE ON public.auth_sessions
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'session', '', 'user_id', 'user_id is_system_admin expires_at revoked_at', ''
);

-- What counts against a cap is no change of it.
CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OF credits OR DELETE ON public.credit_caps
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('cap', 'org_id', 'subject', 'scope subject period credits', '');

-- What a user is given, whatever it is called. What users spend, and what of it is given back, is in
-- `credits_transactions`, and no change of this.
CREATE OR REPLACE TRIGGER keep_audit_on_insert
AFTER INSERT ON public.credits_transactions
FOR EACH ROW
WHEN (new.amount > 0 AND new.refund_of IS NULL)
EXECUTE FUNCTION ledger.keep_audit('grant', '', 'user_id', 'user_id amount', '');

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.app_integrations
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'app', '', 'app_id', 'app_name app_domain permissions status api_key_required', 'api_key_hash'
);

-- Which organisation has whose key, and when it was changed: never the key.
CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.llm_provider_keys
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('provider_key', 'org_id', 'provider', 'org_id provider hint', 'sealed');

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.alert_rules
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('alert', 'org_id', 'subject', 'kind subject threshold', '');

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.webhook_endpoints
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit('webhook', 'org_id', 'id', 'url events', 'secret');

-- What somebody asked to be sent. What is sent because of an alert is nobody's doing.
CREATE OR REPLACE TRIGGER keep_audit_on_insert
AFTER INSERT ON public.webhook_deliveries
FOR EACH ROW
WHEN (new.alert_id IS NULL)
EXECUTE FUNCTION ledger.keep_audit('delivery', 'org_id', 'id', 'event redeliveries', '');

CREATE OR REPLACE TRIGGER keep_audit_on_update
AFTER UPDATE OF redeliveries ON public.webhook_deliveries
FOR EACH ROW
WHEN (new.redeliveries <> old.redeliveries)
EXECUTE FUNCTION ledger.keep_audit('delivery', 'org_id', 'id', 'event redeliveries', '');

-- What is bought by itself. How often it failed is no change of it.
CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.top_up_settings
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'top_up', 'customer_id', 'customer_id', 'package_id threshold monthly_cents is_active', 'payment_method'
);

CREATE OR REPLACE TRIGGER keep_audit_of_rows
AFTER INSERT OR UPDATE OR DELETE ON public.credit_packages
FOR EACH ROW
EXECUTE FUNCTION ledger.keep_audit(
  'package', '', 'id',
  'name description credits price_cents currency renews_every stripe_price_id is_active expires_in_days', ''
);
