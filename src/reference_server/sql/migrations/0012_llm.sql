-- Language models that the gateway offers, and organisations' own keys of their providers.

-- What a model costs and where it runs. `provider` is the name of an upstream in the server's settings;
-- `upstream_model` is what it calls the model, NULL for the same. Prices are what the provider takes, in USD:
-- for a million tokens, or for an image. The first active model of a power level, by `position`, is what a
-- request for that level gets. No row is deleted: a model that is not offered any more is inactive.
CREATE TABLE llm_models (
  model VARCHAR(255) PRIMARY KEY CHECK (model ~ '^[A-Za-z0-9][A-Za-z0-9._:/@-]*$'),
  provider VARCHAR(100) NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_-]*$'),
  upstream_model VARCHAR(255) CHECK (upstream_model <> ''),
  kind VARCHAR(20) NOT NULL CHECK (kind IN ('chat', 'embedding', 'image')),
  power_level VARCHAR(20) CHECK (power_level IN ('eco', 'balanced', 'precision')),
  position INTEGER NOT NULL DEFAULT 0,
  prompt_price NUMERIC(18, 6) NOT NULL DEFAULT 0 CHECK (prompt_price >= 0),
  cached_price NUMERIC(18, 6) NOT NULL DEFAULT 0 CHECK (cached_price >= 0),
  completion_price NUMERIC(18, 6) NOT NULL DEFAULT 0 CHECK (completion_price >= 0),
  image_price NUMERIC(18, 6) NOT NULL DEFAULT 0 CHECK (image_price >= 0),
  largest_output INTEGER NOT NULL DEFAULT 16384 CHECK (largest_output BETWEEN 1 AND 10000000),
  is_active BOOLEAN NOT NULL DEFAULT TRUE,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now()
);
GRANT SELECT ON llm_models TO credits_app;

INSERT INTO llm_models (
  model, provider, kind, power_level, position,
  prompt_price, cached_price, completion_price, image_price, largest_output
) VALUES
('gpt-4o-mini', 'openai', 'chat', 'eco', 1, 0.15, 0.075, 0.60, 0, 16384),
('gpt-4o', 'openai', 'chat', 'balanced', 1, 2.50, 1.25, 10, 0, 16384),
('gpt-4', 'openai', 'chat', 'precision', 1, 30, 30, 60, 0, 8192),
('gpt-3.5-turbo', 'openai', 'chat', 'eco', 2, 0.50, 0.50, 1.50, 0, 4096),
('text-embedding-3-small', 'openai', 'embedding', NULL, 1, 0.02, 0.02, 0, 0, 1),
('text-embedding-3-large', 'openai', 'embedding', NULL, 2, 0.13, 0.13, 0, 0, 1),
('dall-e-3', 'openai', 'image', NULL, 1, 0, 0, 0, 0.04, 1),
('offline-eco', 'offline', 'chat', 'eco', 9, 0.10, 0.05, 0.40, 0, 16384),
('offline-balanced', 'offline', 'chat', 'balanced', 9, 1, 0.50, 4, 0, 16384),
('offline-precision', 'offline', 'chat', 'precision', 9, 10, 5, 40, 0, 16384),
('offline-embedding', 'offline', 'embedding', NULL, 9, 0.10, 0.10, 0, 0, 1),
('offline-image', 'offline', 'image', NULL, 9, 0, 0, 0, 0.02, 1);

-- Organisations' own keys. `sealed` is encrypted by the server under a key that the database never sees;
-- `hint` is the end of the key, by which people recognise it.
CREATE TABLE llm_provider_keys (
  org_id VARCHAR(36) NOT NULL REFERENCES organizations ON DELETE RESTRICT,
  provider VARCHAR(100) NOT NULL CHECK (provider ~ '^[a-z][a-z0-9_-]*$'),
  sealed BYTEA NOT NULL,
  hint VARCHAR(8) NOT NULL,
  updated_by VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT ledger.now(),
  PRIMARY KEY (org_id, provider)
);

-- What is sealed is for the functions of `identity`, which answer for one organisation.
GRANT SELECT (org_id, provider, hint, updated_by, created_at, updated_at) ON llm_provider_keys TO credits_app;
ALTER TABLE llm_provider_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_organization ON llm_provider_keys TO credits_app
USING (org_id = nullif(current_setting('credits.org_id', TRUE), ''));
