"""The incident's seven storage methods and what the cycle needs beside them, on one SQLite file per host."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.gate import Surroundings
from dbsafety_runtime.orchestrator.model import (
    ALL_STATUSES,
    LONGEST_TEXT,
    Clock,
    Issue,
    Status,
    Task,
    clean,
    shorten,
    task_of,
)
from dbsafety_runtime.storage.lite import LiteStore
from dbsafety_runtime.storage.litetx import LiteTx

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
OPEN_TASK: Final = "SELECT id FROM tasks WHERE issue_hash = ? AND status NOT IN ('resolved', 'closed')"
BY_STATUS: Final = "SELECT * FROM task_row WHERE status IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?"
SAME_TARGET: Final = """
SELECT * FROM task_row WHERE target = ? AND id <> ? AND status NOT IN ('resolved', 'closed') LIMIT 50
"""
ALIKE: Final = """
SELECT count(*), min(id) FROM tasks WHERE issue_type = ? AND abs(first_seen - ?) < 60
  AND status IN ('detected', 'suppressed', 'diagnosing', 'escalated')
"""
STATUS: Final = "SELECT status, attempt, changed_at FROM tasks WHERE id = ?"
SET_GITHUB: Final = """
UPDATE tasks SET github_ref = ?, version = version + 1 WHERE id = ? AND coalesce(github_ref, ?) = ? RETURNING id
"""
CLOSE: Final = """
UPDATE tasks SET status = ?, resolution = ?, ended_at = ?, changed_at = ?, lease_owner = NULL, version = version + 1
WHERE id = ? AND status NOT IN ('resolved', 'closed') RETURNING first_seen, status
"""
MOVE: Final = """
UPDATE tasks SET status = ?, phase = ?, next_at = ?, changed_at = ?, lease_owner = NULL, plan = ?, parent = ?,
  version = version + 1 WHERE id = ? AND status = ? RETURNING id
"""
FINISH_ATTEMPT: Final = """
UPDATE attempts SET state = ?, outcome = ?, finished_at = ?, undo = coalesce(?, undo) WHERE task_id = ? AND attempt = ?
RETURNING recipe, started_at
"""
SET_CURSOR: Final = """
INSERT INTO cursor (source, position, at) VALUES (?, ?, ?)
ON CONFLICT (source) DO UPDATE SET position = excluded.position, at = excluded.at
"""
SET_CONTROL: Final = """
INSERT INTO control (name, value, at) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, at = excluded.at
"""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """State, number of fix attempts and time of the last change of a task."""

    status: Status
    attempts: int
    changed_at: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one fix attempt ended: its new state, what was seen, and how to undo what was done (JSON text)."""

    number: int
    state: str
    outcome: str
    undo: str | None = None


class IncidentStore:
    """Tasks and their history. Only functions run by `db.write` change anything; reads never wait for the writer."""

    def __init__(self, db: LiteStore, clock: Clock = time.time) -> None:
        self.db, self.clock = db, clock

    @classmethod
    def init_database(cls, path: Path, clock: Clock = time.time, *, patience: float = 30.0) -> IncidentStore:
        """Open or create the database; any number of processes may do so at once. Raises a StorageFault."""
        return cls(LiteStore(path, "tasks", patience=patience), clock)

    def task_exists(self, issue_hash: str) -> int | None:
        """Return the id of the open task of an issue. For reading only: create_task needs no check before it."""
        rows = self.db.rows(OPEN_TASK, (issue_hash,))
        return int(rows[0][0]) if rows else None

    def get_task_status(self, task_id: int) -> TaskStatus | None:
        """Return how a task stands, None when there is no such task."""
        rows = self.db.rows(STATUS, (task_id,))
        return TaskStatus(*rows[0]) if rows else None

    def create_task(self, issue: Issue) -> int:
        """Return the id of the issue's open task, created when there is none (also for an issue that came back)."""
        return self.db.write(lambda tx: self.upsert(tx, issue))

    def update_task_github(self, task_id: int, ref: str) -> bool:
        """Store the task's issue reference; a second, different one is refused, recorded, and answered with False."""
        return self.db.write(lambda tx: self.set_github(tx, task_id, ref))

    def update_task_fix_attempt(self, task_id: int, attempt: Attempt, actor: str = "worker") -> None:
        """Record how a fix attempt went on: action, outcome, duration."""
        self.db.write(lambda tx: self.finish_attempt(tx, task_id, attempt, actor))

    def close_task(self, task_id: int, status: Status, reason: str, actor: str) -> bool:
        """End a task as resolved or closed; returns False when it had ended before. MTTR goes into the history."""
        return self.db.write(lambda tx: self.close(tx, task_id, status, reason, actor))

    def upsert(self, tx: LiteTx, issue: Issue) -> int:
        """Do create_task in the caller's transaction."""
        now, message = self.clock(), clean(shorten(issue.message))
        facts = json.dumps({clean(name): shorten(clean(text), 4096) for name, text in issue.facts.items()})
        kind, source, target = (clean(shorten(text, 512)) for text in (issue.type, issue.source, issue.target))
        values = (issue.hash, kind, source, message, target, clean(issue.signature), facts, now, now, now, issue.hash)
        task_id, occurrences, reopened_from = tx.execute(UPSERT, values)[0]
        if occurrences == 1:
            before = {"reopened_from": reopened_from} if reopened_from else {}
            cut = {"cut": True} if len(issue.message) > LONGEST_TEXT else {}
            ledger.record(
                tx, now, task_id, source, "detected", type=kind, target=target, message=message, **before, **cut
            )
        return int(task_id)

    def set_github(self, tx: LiteTx, task_id: int, ref: str) -> bool:
        """Do update_task_github in the caller's transaction."""
        stored = bool(tx.execute(SET_GITHUB, (ref, task_id, ref, ref)))
        ledger.record(tx, self.clock(), task_id, "escalation", "issue linked" if stored else "issue refused", ref=ref)
        return stored

    def finish_attempt(self, tx: LiteTx, task_id: int, attempt: Attempt, actor: str) -> None:
        """Do update_task_fix_attempt in the caller's transaction."""
        now = self.clock()
        values = (attempt.state, attempt.outcome, now, attempt.undo, task_id, attempt.number)
        for recipe, started in tx.execute(FINISH_ATTEMPT, values):
            ledger.record(
                tx, now, task_id, actor, attempt.state, attempt=attempt.number, recipe=recipe, why=attempt.outcome,
                seconds=round(now - started, 3),
            )  # fmt: skip

    def close(self, tx: LiteTx, task_id: int, status: Status, reason: str, actor: str) -> bool:
        """Do close_task in the caller's transaction."""
        now = self.clock()
        before = tx.one("SELECT status FROM tasks WHERE id = ?", (task_id,))
        ended = tx.one(CLOSE, (status, reason, now, now, task_id))
        if ended is None or before is None:
            return False
        seconds = round(max(0.0, now - ended[0]), 3)
        ledger.record(
            tx,
            now,
            task_id,
            actor,
            status,
            before=before[0],
            after=status,
            why=reason,
            seconds_since_first_seen=seconds,
        )
        return True

    def move(
        self, tx: LiteTx, task: Task, status: Status, why: str, *, actor: str, phase: int | None = None,
        wait: float = 0.0, plan: str | None = None, parent: int | None = None,
    ) -> bool:  # fmt: skip
        """Change a task's state if it still is what `task` says; `wait` seconds pass before its next step."""
        now, phase = self.clock(), task.phase if phase is None else phase
        if plan is None and task.plan is not None:
            plan = task.plan.to_json()
        changed = tx.execute(MOVE, (status, phase, now + wait, now, plan, parent, task.id, task.status))
        if changed and (status != task.status or phase != task.phase):
            ledger.record(
                tx,
                now,
                task.id,
                actor,
                status,
                before=f"{task.status}/{task.phase}",
                after=f"{status}/{phase}",
                why=why,
            )
        return bool(changed)

    def record_scan(self, detector: str, issues: Sequence[Issue], cursor: str | None) -> tuple[int, ...]:
        """Store what a detector saw and the position it has read up to, both or none."""

        def work(tx: LiteTx) -> tuple[int, ...]:
            ids = tuple(self.upsert(tx, issue) for issue in issues)
            if cursor is not None:
                tx.execute(SET_CURSOR, (detector, cursor, self.clock()))
            return ids

        return self.db.write(work)

    def cursor(self, detector: str) -> str | None:
        """Return the position a detector has read up to."""
        rows = self.db.rows("SELECT position FROM cursor WHERE source = ?", (detector,))
        return rows[0][0] if rows else None

    def task(self, task_id: int) -> Task | None:
        """Return a task, None when there is no such task."""
        rows = self.db.rows("SELECT * FROM task_row WHERE id = ?", (task_id,))
        return task_of(rows[0]) if rows else None

    def tasks(self, *statuses: Status, limit: int = 1000) -> tuple[Task, ...]:
        """Return the tasks in these states (all states when none is given), oldest first."""
        return tuple(task_of(row) for row in self.db.rows(BY_STATUS, (json.dumps(statuses or ALL_STATUSES), limit)))

    def around(self, task: Task) -> Surroundings:
        """Return the other open tasks of the target, and how many untreated ones are like this one."""
        with self.db.reading() as tx:
            same = tuple(task_of(row) for row in tx.execute(SAME_TARGET, (task.issue.target, task.id)))
            alike, first = tx.execute(ALIKE, (task.issue.type, task.first_seen))[0]
        return Surroundings(same, alike, first or 0)

    def counts(self) -> Mapping[str, int]:
        """Return how many tasks are in each state."""
        return dict(self.db.rows("SELECT status, count(*) FROM tasks GROUP BY status"))

    def set_control(self, name: str, value: str, actor: str | None = None) -> None:
        """Store a switch or a sign of life; with an actor the change is recorded."""

        def work(tx: LiteTx) -> None:
            tx.execute(SET_CONTROL, (name, value, self.clock()))
            if actor is not None:
                ledger.record(tx, self.clock(), 0, actor, name, value=value)

        self.db.write(work)

    def control(self, name: str) -> tuple[str, float] | None:
        """Return a stored switch and when it was set."""
        rows = self.db.rows("SELECT value, at FROM control WHERE name = ?", (name,))
        return (rows[0][0], rows[0][1]) if rows else None

    def paused(self) -> bool:
        """Say whether the operator has forbidden fixes."""
        return (self.control("paused") or ("0", 0.0))[0] == "1"

    def close_store(self) -> None:
        """Commit what waits and stop the writer."""
        self.db.close()
