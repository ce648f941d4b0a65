CREATE TABLE source (
  name text PRIMARY KEY, kind text NOT NULL, stamp text NOT NULL
) STRICT;

CREATE TABLE chunk (
  id integer PRIMARY KEY, source text NOT NULL REFERENCES source (name) ON DELETE CASCADE, line integer NOT NULL,
  revision text NOT NULL, body text NOT NULL
) STRICT;

CREATE INDEX chunk_of_source ON chunk (source);

CREATE TABLE rename (old text NOT NULL, new text NOT NULL, revision text NOT NULL, at real NOT NULL,
  PRIMARY KEY (old, new)) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE chunk_text USING fts5 (body, content = 'chunk', content_rowid = 'id', tokenize = 'porter unicode61');

CREATE TRIGGER chunk_added AFTER INSERT ON chunk
BEGIN INSERT INTO chunk_text (rowid, body) VALUES (NEW.id, NEW.body); END;

CREATE TRIGGER chunk_removed AFTER DELETE ON chunk
BEGIN INSERT INTO chunk_text (chunk_text, rowid, body) VALUES ('delete', OLD.id, OLD.body); END;
