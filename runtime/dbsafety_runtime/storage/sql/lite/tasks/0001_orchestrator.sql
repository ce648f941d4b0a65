CREATE TABLE tasks (
  id integer PRIMARY KEY, issue_hash text NOT NULL, issue_type text NOT NULL, issue_source text NOT NULL,
  issue_message text NOT NULL, target text NOT NULL, signature text NOT NULL, facts text NOT NULL,
  status text NOT NULL CHECK (status IN
    ('detected', 'suppressed', 'diagnosing', 'fixing', 'verifying', 'resolved', 'escalated', 'closed')),
  phase integer NOT NULL DEFAULT 0, occurrences integer NOT NULL DEFAULT 1,
  first_seen real NOT NULL, last_seen real NOT NULL, changed_at real NOT NULL, next_at real NOT NULL DEFAULT 0,
  reopened_from integer, parent integer, lease_owner text, attempt integer NOT NULL DEFAULT 0,
  plan text, github_ref text, resolution text, ended_at real, false_alarm integer NOT NULL DEFAULT 0,
  version integer NOT NULL DEFAULT 0
) STRICT;

CREATE VIEW task_row AS SELECT id, issue_type, issue_source, target, issue_message, facts, status, phase, occurrences,
  first_seen, last_seen, changed_at, reopened_from, parent, attempt, plan, github_ref, resolution, signature, version
  FROM tasks;

CREATE UNIQUE INDEX one_open_issue ON tasks (issue_hash) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX open_by_target ON tasks (target) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX due ON tasks (next_at) WHERE status NOT IN ('resolved', 'closed');
CREATE INDEX ended ON tasks (issue_hash, id) WHERE status IN ('resolved', 'closed');

CREATE TRIGGER legal_transition BEFORE UPDATE OF status ON tasks
WHEN OLD.status <> NEW.status AND instr(CASE OLD.status
  WHEN 'detected' THEN 'suppressed diagnosing escalated resolved closed'
  WHEN 'suppressed' THEN 'detected resolved closed'
  WHEN 'diagnosing' THEN 'suppressed fixing escalated resolved closed'
  WHEN 'fixing' THEN 'verifying diagnosing escalated closed'
  WHEN 'verifying' THEN 'diagnosing escalated resolved closed'
  WHEN 'escalated' THEN 'fixing diagnosing resolved closed'
  ELSE '' END, NEW.status) = 0
BEGIN SELECT RAISE(ABORT, 'illegal transition of a task'); END;

CREATE TABLE task_history (
  id integer PRIMARY KEY AUTOINCREMENT, task_id integer NOT NULL, at real NOT NULL, actor text NOT NULL,
  action text NOT NULL, details text NOT NULL, prev_hash blob NOT NULL, hash blob NOT NULL
) STRICT;

CREATE INDEX history_of_task ON task_history (task_id);

CREATE TRIGGER history_is_not_updated BEFORE UPDATE ON task_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TRIGGER history_is_not_deleted BEFORE DELETE ON task_history
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

CREATE TABLE attempts (
  id integer PRIMARY KEY, task_id integer NOT NULL REFERENCES tasks (id), target text NOT NULL,
  attempt integer NOT NULL, phase integer NOT NULL, recipe text NOT NULL, plan text NOT NULL,
  state text NOT NULL CHECK (state IN ('applying', 'applied', 'verified', 'undoing', 'undone', 'failed')),
  undo text NOT NULL DEFAULT '[]', baseline text NOT NULL DEFAULT '{}', started_at real NOT NULL, finished_at real,
  outcome text, UNIQUE (task_id, attempt)
) STRICT;

CREATE INDEX attempts_by_target ON attempts (target, started_at);

CREATE TABLE pattern (
  signature text NOT NULL, recipe text NOT NULL, successes integer NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0, promoted integer NOT NULL DEFAULT 0, last_used real NOT NULL,
  PRIMARY KEY (signature, recipe)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  id integer PRIMARY KEY, key text NOT NULL UNIQUE, task_id integer NOT NULL REFERENCES tasks (id),
  kind text NOT NULL CHECK (kind IN ('create', 'comment', 'close')), body text NOT NULL,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent')),
  tries integer NOT NULL DEFAULT 0, next_at real NOT NULL DEFAULT 0, last_error text
) STRICT;

CREATE TABLE cursor (source text PRIMARY KEY, position text NOT NULL, at real NOT NULL) STRICT;

CREATE TABLE control (name text PRIMARY KEY, value text NOT NULL, at real NOT NULL) STRICT;

-- What is to be sent to GitHub, with what its task says about it.
CREATE VIEW message AS SELECT outbox.id, key, task_id, kind, body, tries, github_ref, issue_type, target, outbox.next_at
  FROM outbox JOIN tasks ON tasks.id = task_id WHERE state = 'waiting';

-- Tasks as the figures see them: the phase of the last fix attempt, whether a human was asked, seconds until the end.
CREATE VIEW treated AS SELECT id, coalesce(resolution, '') AS resolution, false_alarm,
  (SELECT phase FROM attempts WHERE task_id = tasks.id ORDER BY attempt DESC LIMIT 1) AS phase,
  EXISTS (SELECT 1 FROM outbox WHERE task_id = tasks.id AND kind = 'create') AS escalated,
  max(0.0, coalesce(ended_at, first_seen) - first_seen) AS seconds FROM tasks;
