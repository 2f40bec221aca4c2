-- Guards in the database itself: organisations cannot read each other's rows, and what administrators do
-- stays written.

-- Who did what: each change of administration, in the transaction of the change. Append-only. The triggers
-- `keep_audit_*` write it, so that statements written by hand are here as well. Charges are not: they are
-- in `credit_usage_attribution`. Secrets are never part of the details.
CREATE TABLE audit_log (
  id UUID PRIMARY KEY DEFAULT ledger.new_id(),
  -- NULL for what concerns no organisation: users, sessions, keys of all organisations.
  org_id VARCHAR(36) REFERENCES organizations ON DELETE RESTRICT,
  -- A user's id, a key's id, the name of a job, or the role that was logged in.
  actor VARCHAR(255) NOT NULL,
  actor_kind VARCHAR(10) NOT NULL CHECK (actor_kind IN ('user', 'api_key', 'system', 'database')),
  action VARCHAR(50) NOT NULL,
  subject VARCHAR(255) NOT NULL,
  -- `before` and `after`: what changed, amounts in millicredits; `secrets`: names of secrets that changed.
  details JSONB NOT NULL DEFAULT '{}',
  request_id VARCHAR(255),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
CREATE INDEX audit_log_latest_of_org ON audit_log (org_id, created_at);
GRANT SELECT ON audit_log TO credits_app;

-- A server with the rights of an application sees whether there is something to migrate.
GRANT SELECT ON public.credit_sdk_migrations TO credits_app;

-- What an application reads by itself are the rows of the organisation that `credits.org_id` names, and
-- without one none. The owner is not held to it: neither the ledger's functions, which have the owner's
-- rights and filter by their arguments, nor what the owner writes by hand.
DO $$
DECLARE
  _table REGCLASS;
BEGIN
  FOR _table IN
    SELECT relation.oid
    FROM pg_class AS relation
    INNER JOIN pg_attribute AS field
      ON field.attrelid = relation.oid AND field.attname = 'org_id' AND NOT field.attisdropped
    WHERE relation.relnamespace = 'public'::REGNAMESPACE AND relation.relkind IN ('r', 'p')
  LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', _table);
    EXECUTE format(
      'CREATE POLICY of_organization ON %s TO credits_app USING (org_id = %s)',
      _table, 'nullif(current_setting(''credits.org_id'', TRUE), '''')'
    );
  END LOOP;
END;
$$;

ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON organizations TO credits_app
USING (id = nullif(current_setting('credits.org_id', TRUE), ''));

-- The people of the organisation; the members that this looks at are those of the policy above.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON users TO credits_app
USING (subject IN (SELECT member.user_id FROM organization_members AS member));

-- No policy: nobody but the owner.
ALTER TABLE auth_sessions ENABLE ROW LEVEL SECURITY;

-- One UPDATE for all that changes, and so one row of the audit: it takes the wanted row now.
DROP FUNCTION IF EXISTS ledger.move_subscription(public.organization_subscriptions, TEXT, NUMERIC);
