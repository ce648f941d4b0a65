"""How a task moves on: claimed, applied, verified, undone; each change with fence and history in one commit."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.learning import learn
from dbsafety_runtime.orchestrator.model import Plan, Task, task_of
from dbsafety_runtime.orchestrator.store import Attempt, IncidentStore
from dbsafety_runtime.storage.litetx import LiteTx

CLAIM: Final = """
UPDATE tasks SET lease_owner = ?, version = version + 1 WHERE id IN (
  SELECT id FROM tasks WHERE lease_owner IS NULL AND next_at <= ?
    AND status IN ('detected', 'suppressed', 'diagnosing', 'verifying', 'escalated')
    AND (status = 'verifying' OR NOT ?) ORDER BY next_at, id LIMIT ?)
RETURNING id
"""
DUE: Final = """
SELECT 1 FROM tasks WHERE lease_owner IS NULL AND (next_at <= ?1 OR next_at > ?1 + ?2)
  AND status NOT IN ('resolved', 'closed') LIMIT 1
"""
RELEASE: Final = "UPDATE tasks SET lease_owner = NULL, next_at = ? WHERE id = ? AND lease_owner = ?"
# A wall clock that was set back must not make tasks wait for an hour that has already passed.
CLAMP: Final = """
UPDATE tasks SET next_at = ?1 WHERE next_at > ?1 + ?2 AND status NOT IN ('resolved', 'closed')
"""
ORPHANED: Final = "SELECT id, status FROM tasks WHERE lease_owner IS NOT NULL AND lease_owner <> ?"
LOOK_FIRST: Final = (
    "UPDATE tasks SET status = 'verifying', changed_at = ?, next_at = 0 WHERE id = ? AND status = 'fixing'"
)
FREE: Final = "UPDATE tasks SET lease_owner = NULL, version = version + 1 WHERE id = ?"
APPLYING: Final = (
    "UPDATE attempts SET state = 'applied', outcome = 'interrupted' WHERE task_id = ? AND state = 'applying'"
)
RECENT: Final = """
SELECT task_id FROM attempts WHERE target = ? AND task_id <> ? AND started_at > ? LIMIT 1
"""
BEGIN: Final = """
UPDATE tasks SET status = 'fixing', attempt = attempt + 1, phase = ?, plan = ?, changed_at = ?, version = version + 1
WHERE id = ? AND status = ? AND version = ? RETURNING attempt
"""
INTENT: Final = """
INSERT INTO attempts (task_id, target, attempt, phase, recipe, plan, state, undo, started_at)
VALUES (?, ?, ?, ?, ?, ?, 'applying', ?, ?)
"""
PAUSES: Final = "SELECT name FROM control WHERE name IN ('paused', 'paused:' || ?) AND value = '1'"
LATEST: Final = """
SELECT attempt, plan, state, undo, baseline, started_at, coalesce(outcome, '')
FROM attempts WHERE task_id = ? ORDER BY attempt DESC LIMIT 1
"""
TRIED: Final = """
SELECT recipe FROM attempts WHERE task_id = ? AND state IN ('undone', 'failed') AND outcome NOT LIKE 'interrupted%'
"""
BASELINE: Final = "UPDATE attempts SET baseline = ? WHERE task_id = ? AND attempt = ?"


@dataclass(frozen=True, slots=True)
class Applied:
    """A stored fix attempt: its plan, what undoing needs, and what was seen when verification began."""

    number: int
    plan: Plan
    state: str
    undo: list[str | None]
    baseline: dict[str, float]
    started: float
    interrupted: bool = False


class Progress:
    """The transitions of tasks for one running orchestrator; `owner` is new at every start."""

    def __init__(self, store: IncidentStore, owner: str) -> None:
        self.store, self.owner = store, owner

    def recover(self, *, dry_run: bool = False) -> tuple[int, ...]:
        """Take over from a dead predecessor and return its tasks: what it was applying is looked at first."""

        def work(tx: LiteTx) -> tuple[int, ...]:
            now, rows = self.store.clock(), tx.execute(ORPHANED, (self.owner,))
            for task_id, status in [] if dry_run else rows:
                if status == "fixing":
                    tx.execute(LOOK_FIRST, (now, task_id))
                    tx.execute(APPLYING, (task_id,))
                    why = "the process died while applying: look before acting"
                    ledger.record(tx, now, task_id, "recovery", "verifying", before=status, after="verifying", why=why)
                tx.execute(FREE, (task_id,))
            return tuple(row[0] for row in rows)

        return self.store.db.write(work)

    def claim(self, limit: int, longest_wait: float, *, only_verify: bool = False) -> tuple[Task, ...]:
        """Take tasks that are due, which nobody else gets until they are moved; writes only when there are any."""
        if not self.store.db.rows(DUE, (self.store.clock(), longest_wait)):
            return ()

        def work(tx: LiteTx) -> tuple[Task, ...]:
            now = self.store.clock()
            tx.execute(CLAMP, (now, longest_wait))
            ids = [row[0] for row in tx.execute(CLAIM, (self.owner, now, only_verify, limit))]
            rows = tx.execute("SELECT * FROM task_row WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),))
            return tuple(task_of(row) for row in rows)

        return self.store.db.write(work)

    def release(self, task: Task, wait: float) -> None:
        """Give a task back unchanged, to be looked at again after `wait` seconds."""
        self.store.db.write(lambda tx: tx.execute(RELEASE, (self.store.clock() + wait, task.id, self.owner)))

    def begin(self, task: Task, plan: Plan, undo: list[str | None], window: float) -> tuple[int | None, str]:
        """Write down what will be applied, before it is; returns the attempt's number, or None and why not.

        Refused while paused, when another task has changed the same target within `window` seconds, and when the task
        is no longer what it was.
        """

        def work(tx: LiteTx) -> tuple[int | None, str]:
            now = self.store.clock()
            if tx.one(PAUSES, (task.issue.target,)):
                return None, "paused by the operator"
            if other := tx.one(RECENT, (task.issue.target, task.id, now - window)):
                return None, f"task {other[0]} has changed {task.issue.target} within {window:g} s"
            row = tx.one(BEGIN, (task.phase, plan.to_json(), now, task.id, task.status, task.version))
            if row is None:
                return None, "the task was changed meanwhile"
            values = (
                task.id,
                task.issue.target,
                row[0],
                task.phase,
                plan.recipe,
                plan.to_json(),
                json.dumps(undo),
                now,
            )
            tx.execute(INTENT, values)
            steps = [step.text() for step in plan.steps]
            ledger.record(
                tx, now, task.id, plan.by, "applying", before=f"{task.status}/{task.phase}", attempt=row[0],
                recipe=plan.recipe, steps=steps, why=plan.reason, evidence=plan.evidence,
            )  # fmt: skip
            return int(row[0]), ""

        return self.store.db.write(work)

    def applied(self, task: Task, number: int, seconds: float) -> None:
        """Everything was carried out: the task waits for verification."""

        def work(tx: LiteTx) -> None:
            self.store.finish_attempt(tx, task.id, Attempt(number, "applied", f"took {seconds:.2f} s"), "worker")
            self.store.move(tx, task, "verifying", "all steps were carried out", actor="worker")

        self.store.db.write(work)

    def attempt_of(self, task_id: int) -> Applied | None:
        """Return the latest fix attempt of a task."""
        rows = self.store.db.rows(LATEST, (task_id,))
        if not rows:
            return None
        number, plan, state, undo, baseline, started, outcome = rows[0]
        found = Applied(number, Plan.from_json(plan), state, json.loads(undo), json.loads(baseline), started)
        return replace(found, interrupted=outcome == "interrupted")

    def tried(self, task_id: int) -> frozenset[str]:
        """Return the recipes that did not work for a task."""
        return frozenset(row[0] for row in self.store.db.rows(TRIED, (task_id,)))

    def set_baseline(self, task_id: int, number: int, baseline: dict[str, float]) -> None:
        """Store what verification compares with, so that a restart does not start it anew."""
        self.store.db.write(lambda tx: tx.execute(BASELINE, (json.dumps(baseline), task_id, number)))

    def verified(self, task: Task, attempt: Applied) -> None:
        """The fix held: resolve, learn and tell, in one commit."""
        resolution = "approved" if attempt.plan.by == "operator" else "verified"

        def work(tx: LiteTx) -> None:
            now = self.store.clock()
            self.store.finish_attempt(tx, task.id, Attempt(attempt.number, "verified", "healthy since"), "verifier")
            self.store.close(tx, task.id, "resolved", resolution, "verifier")
            learn(tx, now, task.id, task.signature, attempt.plan.recipe, success=True)

        self.store.db.write(work)

    def undone(self, task: Task, attempt: Applied, why: str, *, next_phase: int, left: list[str]) -> None:
        """The fix did not hold and was undone: learn from it and go on with the next phase.

        An attempt cut off by a crash teaches nothing; its phase is entered again.
        """
        why = f"interrupted by a crash: {why}" if attempt.interrupted else why

        def work(tx: LiteTx) -> None:
            state = "failed" if left else "undone"
            outcome = f"{why}; could not be undone: {'; '.join(left)}" if left else why
            self.store.finish_attempt(tx, task.id, Attempt(attempt.number, state, outcome), "verifier")
            if not attempt.interrupted:
                learn(tx, self.store.clock(), task.id, task.signature, attempt.plan.recipe, success=False)
            phase = task.phase if attempt.interrupted else next_phase
            self.store.move(tx, task, "diagnosing", why, actor="verifier", phase=phase)

        self.store.db.write(work)
