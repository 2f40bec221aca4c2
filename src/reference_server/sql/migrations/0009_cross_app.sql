-- Applications in which users log in with their password here. Such a session is a token signed with a key
-- of `cross_app_signing_keys` and a row of `cross_app_sessions` under the token's `jti`, which ends it early.
-- Of an application's API key only the SHA-256 is kept. The role credits_app reads none of this.
CREATE TABLE app_integrations (
  app_id VARCHAR(100) PRIMARY KEY CHECK (app_id ~ '^[A-Za-z0-9_.-]+$'),
  app_name VARCHAR(255) NOT NULL,
  app_domain VARCHAR(255),
  api_key_hash BYTEA NOT NULL UNIQUE CHECK (octet_length(api_key_hash) = 32),
  -- Whether requests without the key are refused; a wrong key always is.
  api_key_required BOOLEAN NOT NULL DEFAULT FALSE,
  permissions TEXT[] NOT NULL DEFAULT '{}' CHECK (
    permissions <@ ARRAY[
      'read_user_info', 'read_credits', 'consume_credits', 'purchase_credits', 'manage_subscriptions'
    ]
  ),
  status VARCHAR(20) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

CREATE TABLE cross_app_signing_keys (
  kid VARCHAR(64) PRIMARY KEY CHECK (kid ~ '^[A-Za-z0-9_-]+$'),
  private_key TEXT NOT NULL,
  public_key TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  -- Signs until then; what it has signed is believed until it expires by itself.
  retired_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX cross_app_signing_keys_one_signs ON cross_app_signing_keys ((TRUE))
WHERE retired_at IS NULL;

CREATE TABLE cross_app_sessions (
  jti UUID PRIMARY KEY,
  app_id VARCHAR(100) NOT NULL REFERENCES app_integrations ON DELETE RESTRICT,
  user_id BIGINT NOT NULL REFERENCES users ON DELETE RESTRICT,
  app_user_id VARCHAR(255),
  app_metadata JSONB NOT NULL DEFAULT '{}',
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  expires_at TIMESTAMPTZ NOT NULL,
  -- May lie ahead: a token that was exchanged for a new one works a little longer.
  revoked_at TIMESTAMPTZ
);

-- What applications took from users: one row for each charge, written once it is taken.
CREATE TABLE app_credit_usage (
  transaction_id BIGINT PRIMARY KEY REFERENCES credits_transactions ON DELETE RESTRICT,
  app_id VARCHAR(100) NOT NULL REFERENCES app_integrations ON DELETE RESTRICT,
  user_id BIGINT NOT NULL REFERENCES users ON DELETE RESTRICT,
  credits NUMERIC(18, 3) NOT NULL CHECK (credits > 0),
  service VARCHAR(100) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);

-- No policy: what these hold is read through functions alone.
ALTER TABLE app_integrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE cross_app_signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE cross_app_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE app_credit_usage ENABLE ROW LEVEL SECURITY;
