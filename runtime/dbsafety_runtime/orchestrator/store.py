"""The incident's seven storage methods and what the cycle needs beside them, on one SQLite file per host."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.model import LONGEST_TEXT, Clock, Issue, Plan, Status, Task, clean, shorten, task_of
from dbsafety_runtime.storage.lite import LiteStore, unit

UPSERT: Final = """
INSERT INTO tasks (issue_hash, issue_type, issue_source, issue_message, target, signature, facts, status,
  first_seen, last_seen, changed_at, reopened_from)
VALUES (?, ?, ?, ?, ?, ?, ?, 'detected', ?, ?, ?,
  (SELECT max(id) FROM tasks WHERE issue_hash = ? AND status IN ('resolved', 'closed')))
ON CONFLICT (issue_hash) WHERE status NOT IN ('resolved', 'closed')
DO UPDATE SET occurrences = occurrences + 1, last_seen = excluded.last_seen, facts = excluded.facts,
  version = version + 1
RETURNING id, occurrences, reopened_from
"""
BY_STATUS: Final = """
SELECT * FROM task_row WHERE ?1 = '[]' OR status IN (SELECT value FROM json_each(?1)) ORDER BY id LIMIT ?2
"""
SAME_TARGET: Final = """
SELECT * FROM task_row WHERE target = ? AND id <> ? AND status NOT IN ('resolved', 'closed') LIMIT 50
"""
ALIKE: Final = """
SELECT count(*), min(id) FROM tasks WHERE issue_type = ? AND abs(first_seen - ?) < 60
  AND status IN ('detected', 'suppressed', 'diagnosing', 'escalated')
"""
SET_GITHUB: Final = """
UPDATE tasks SET github_ref = ?, version = version + 1 WHERE id = ? AND coalesce(github_ref, ?) = ? RETURNING id
"""
CLOSE: Final = """
UPDATE tasks SET status = ?1, resolution = ?2, ended_at = ?3, changed_at = ?3, false_alarm = ?4, lease_owner = NULL,
  version = version + 1 WHERE id = ?5 AND status NOT IN ('resolved', 'closed') RETURNING first_seen, status
"""
MOVE: Final = """
UPDATE tasks SET status = ?, phase = ?, next_at = ?, changed_at = ?, lease_owner = NULL, plan = ?, parent = ?,
  version = version + 1 WHERE id = ? AND status = ? RETURNING id
"""
FINISH_ATTEMPT: Final = """
UPDATE attempts SET state = ?, outcome = ?, finished_at = ? WHERE task_id = ? AND attempt = ?
RETURNING recipe, started_at
"""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """State, number of fix attempts and time of the last change of a task."""

    status: Status
    attempts: int
    changed_at: float


class IncidentStore:
    """Tasks and their history. What changes something is a unit of work of `db`; reads never wait for the writer."""

    def __init__(self, db: LiteStore, clock: Clock = time.time) -> None:
        self.db, self.clock = db, clock

    @classmethod
    def init_database(cls, path: Path, clock: Clock = time.time, *, patience: float = 30.0) -> IncidentStore:
        """Open or create the database; any number of processes may do so at once. Raises a StorageFault."""
        return cls(LiteStore(path, "tasks", patience=patience), clock)

    def task_exists(self, issue_hash: str) -> int | None:
        """Return the id of the open task of an issue. For reading only: create_task needs no check before it."""
        sql = "SELECT id FROM tasks WHERE issue_hash = ? AND status NOT IN ('resolved', 'closed')"
        row = self.db.one(sql, issue_hash)
        return int(row[0]) if row else None

    def get_task_status(self, task_id: int) -> TaskStatus | None:
        """Return how a task stands, None when there is no such task."""
        row = self.db.one("SELECT status, attempt, changed_at FROM tasks WHERE id = ?", task_id)
        return TaskStatus(*row) if row else None

    @unit
    def create_task(self, issue: Issue) -> int:
        """Return the id of the issue's open task, created when there is none (also for an issue that came back)."""
        now, message = self.clock(), clean(shorten(issue.message))
        facts = json.dumps({clean(name): shorten(clean(text), 4096) for name, text in issue.facts.items()})
        kind, source, target = (clean(shorten(text, 512)) for text in (issue.type, issue.source, issue.target))
        values = (issue.hash, kind, source, message, target, clean(issue.signature), facts, now, now, now, issue.hash)
        task_id, occurrences, reopened_from = self.db.rows(UPSERT, values)[0]
        if occurrences == 1:
            more = {"reopened_from": reopened_from} if reopened_from else {}
            more |= {"cut": True} if len(issue.message) > LONGEST_TEXT else {}
            self.record(task_id, source, "detected", type=kind, target=target, message=message, **more)
        return int(task_id)

    @unit
    def update_task_github(self, task_id: int, ref: str) -> bool:
        """Store the task's issue reference; a second, different one is refused, recorded, and answered with False."""
        stored = self.db.one(SET_GITHUB, ref, task_id, ref, ref) is not None
        self.record(task_id, "escalation", "issue linked" if stored else "issue refused", ref=ref)
        return stored

    @unit
    def update_task_fix_attempt(
        self, task_id: int, attempt: int, state: str, outcome: str, actor: str = "worker"
    ) -> None:
        """Record how a fix attempt went on: its new state, what was seen, duration."""
        now = self.clock()
        for recipe, started in self.db.rows(FINISH_ATTEMPT, (state, outcome, now, task_id, attempt)):
            seconds = round(now - started, 3)
            self.record(task_id, actor, state, attempt=attempt, recipe=recipe, why=outcome, seconds=seconds)

    @unit
    def close_task(self, task_id: int, status: Status, reason: str, actor: str, *, false_alarm: bool = False) -> bool:
        """End a task as resolved or closed; returns False when it had ended before. MTTR goes into the history."""
        now, before = self.clock(), self.get_task_status(task_id)
        ended = self.db.one(CLOSE, status, reason, now, false_alarm, task_id)
        if ended is None or before is None:
            return False
        seconds = {"seconds_since_first_seen": round(max(0.0, now - ended[0]), 3)}
        self.record(task_id, actor, status, before=before.status, after=status, why=reason, **seconds)
        return True

    @unit
    def move(
        self, task: Task, status: Status, why: str, *, actor: str, phase: int | None = None, wait: float = 0.0,
        plan: Plan | None = None, parent: int | None = None,
    ) -> bool:  # fmt: skip
        """Change a task's state if it still is what `task` says; `wait` seconds pass before its next step."""
        now, phase, plan = self.clock(), task.phase if phase is None else phase, plan or task.plan
        text = plan.to_json() if plan else None
        changed = self.db.one(MOVE, status, phase, now + wait, now, text, parent, task.id, task.status) is not None
        before, after = f"{task.status}/{task.phase}", f"{status}/{phase}"
        if changed and before != after:
            self.record(task.id, actor, status, before=before, after=after, why=why)
        return changed

    @unit
    def record_scan(self, detector: str, issues: Sequence[Issue], cursor: str | None) -> tuple[int, ...]:
        """Store what a detector saw and the position it has read up to, both or none."""
        if cursor is not None:
            self.db.one("REPLACE INTO cursor (source, position, at) VALUES (?, ?, ?)", detector, cursor, self.clock())
        return tuple(self.create_task(issue) for issue in issues)

    @unit
    def record(self, /, task_id: int, actor: str, action: str, **details: object) -> None:
        """Append to the history; `task_id` 0 stands for the orchestrator itself."""
        with self.db.reading() as tx:
            ledger.record(tx, self.clock(), task_id, actor, action, **details)

    def cursor(self, detector: str) -> str | None:
        """Return the position a detector has read up to."""
        row = self.db.one("SELECT position FROM cursor WHERE source = ?", detector)
        return row[0] if row else None

    def task(self, task_id: int) -> Task | None:
        """Return a task, None when there is no such task."""
        row = self.db.one("SELECT * FROM task_row WHERE id = ?", task_id)
        return task_of(row) if row else None

    def tasks(self, *statuses: Status, limit: int = 1000) -> tuple[Task, ...]:
        """Return the tasks in these states (all states when none is given), oldest first."""
        return tuple(map(task_of, self.db.rows(BY_STATUS, (json.dumps(statuses), limit))))

    def neighbours(self, task: Task) -> tuple[Task, ...]:
        """Return the other open tasks of a task's target."""
        return tuple(map(task_of, self.db.rows(SAME_TARGET, (task.issue.target, task.id))))

    def storm(self, task: Task, limit: int) -> int | None:
        """Return the first of the untreated tasks that began like this one within a minute, if more than `limit`."""
        alike, first = self.db.rows(ALIKE, (task.issue.type, task.first_seen))[0]
        return first if alike > limit and first != task.id else None

    def counts(self) -> Mapping[str, int]:
        """Return how many tasks are in each state."""
        return dict(self.db.rows("SELECT status, count(*) FROM tasks GROUP BY status"))

    @unit
    def set_control(self, name: str, value: str) -> None:
        """Store a switch or a sign of life."""
        self.db.one("REPLACE INTO control (name, value, at) VALUES (?, ?, ?)", name, value, self.clock())

    def control(self, name: str) -> tuple[str, float] | None:
        """Return a stored switch and when it was set."""
        row = self.db.one("SELECT value, at FROM control WHERE name = ?", name)
        return (row[0], row[1]) if row else None

    def paused(self) -> bool:
        """Say whether the operator has forbidden fixes."""
        return (self.control("paused") or ("0", 0.0))[0] == "1"

    def close_store(self) -> None:
        """Commit what waits and stop the writer."""
        self.db.close()
