-- oldest-reader: 1
-- Thermal memory: texts whose heat halves with age and rises with use. Fara: mistakes counted by signature, and rules.
CREATE TABLE thermal_memory (
  memory_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  body text NOT NULL,
  source text NOT NULL DEFAULT '',
  tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED,
  hits int NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  used_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX thermal_memory_tsv ON thermal_memory USING gin (tsv);

CREATE TABLE fara_mistake (
  signature text PRIMARY KEY,
  kind text NOT NULL,
  count int NOT NULL DEFAULT 1,
  first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  sample jsonb NOT NULL
);

CREATE TABLE fara_rule (
  kind text NOT NULL,
  rule text NOT NULL,
  weight real NOT NULL DEFAULT 1,
  from_signature text REFERENCES fara_mistake (signature),
  PRIMARY KEY (kind, rule)
);
