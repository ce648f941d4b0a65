"""How a task moves on: claimed, applied, verified, undone; each change with fence and history in one commit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from dbsafety_runtime.orchestrator.escalate import take_back
from dbsafety_runtime.orchestrator.learning import learn
from dbsafety_runtime.orchestrator.model import Plan, Task
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import unit

# A wall clock that was set back must not make tasks wait for an hour that has already passed.
DUE: Final = """
SELECT id FROM tasks WHERE lease_owner IS NULL AND (next_at <= ?1 OR next_at > ?1 + ?2)
  AND status IN ('detected', 'suppressed', 'diagnosing', 'verifying', 'escalated')
  AND (status = 'verifying' OR NOT ?3) ORDER BY next_at, id LIMIT ?4
"""
CLAIM: Final = "UPDATE tasks SET lease_owner = ?, version = version + 1 WHERE id = ?"
LOOK_FIRST: Final = "UPDATE tasks SET status = 'verifying', changed_at = ?, next_at = 0 WHERE id = ?"
APPLYING: Final = (
    "UPDATE attempts SET state = 'applied', outcome = 'interrupted' WHERE task_id = ? AND state = 'applying'"
)
RECENT: Final = """
SELECT task_id, state IN ('applying', 'applied') FROM attempts WHERE target = ? AND task_id <> ? AND started_at > ?
ORDER BY 2 DESC LIMIT 1
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
SELECT attempt, plan, undo, baseline, coalesce(outcome, '') = 'interrupted'
FROM attempts WHERE task_id = ? ORDER BY attempt DESC LIMIT 1
"""
TRIED: Final = """
SELECT recipe FROM attempts WHERE task_id = ? AND state IN ('undone', 'failed') AND outcome NOT LIKE 'interrupted%'
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """A stored fix attempt: its plan, what undoing needs, and what was seen when verification began."""

    number: int
    plan: Plan
    undo: list[str | None]
    baseline: dict[str, float]
    interrupted: bool = False


class Progress:
    """The transitions of tasks for one running orchestrator; `owner` is new at every start."""

    def __init__(self, store: IncidentStore, owner: str) -> None:
        self.store, self.db, self.owner = store, store.db, owner

    @unit
    def recover(self, *, dry_run: bool = False) -> tuple[int, ...]:
        """Take over from a dead predecessor and return its tasks: what it was applying is looked at first."""
        rows = self.db.rows("SELECT id, status FROM tasks WHERE lease_owner <> ?", (self.owner,))
        for task_id, status in [] if dry_run else rows:
            if status == "fixing":
                self.db.rows(LOOK_FIRST, (self.store.clock(), task_id))
                self.db.rows(APPLYING, (task_id,))
                why = "the process died while applying: look before acting"
                self.store.record(task_id, "recovery", "verifying", before=status, after="verifying", why=why)
            self.db.rows(CLAIM, (None, task_id))
        return tuple(row[0] for row in rows)

    def claim(self, limit: int, longest_wait: float, *, only_verify: bool = False) -> tuple[Task, ...]:
        """Take tasks that are due, which nobody else gets until they are moved; writes only when there are any."""
        due = (self.store.clock(), longest_wait, only_verify, limit)
        return self._claim(due) if self.db.rows(DUE, due) else ()

    @unit
    def _claim(self, due: tuple[float, float, bool, int]) -> tuple[Task, ...]:
        ids = [task_id for (task_id,) in self.db.rows(DUE, due)]
        for task_id in ids:
            self.db.rows(CLAIM, (self.owner, task_id))
        return tuple(task for task_id in ids if (task := self.store.task(task_id)) is not None)

    @unit
    def release(self, task: Task, wait: float = 0.5) -> None:
        """Give a task back unchanged, to be looked at again after `wait` seconds."""
        sql = "UPDATE tasks SET lease_owner = NULL, next_at = ? WHERE id = ? AND lease_owner = ?"
        self.db.one(sql, self.store.clock() + wait, task.id, self.owner)

    @unit
    def begin(self, task: Task, plan: Plan, undo: list[str | None], window: float) -> tuple[int | None, str]:
        """Write down what will be applied, before it is; returns the attempt's number, or None and why not.

        There is no reason ('') but to try again while it is paused and when the task is no longer what it was; it is
        refused when another task has changed the same target within `window` seconds. What a human has approved only
        waits for the end of that change.
        """
        now, target, text = self.store.clock(), task.issue.target, plan.to_json()
        if self.db.one(PAUSES, target):
            return None, ""
        other, changing = self.db.one(RECENT, target, task.id, now - window) or (None, False)
        if changing or (other is not None and plan.by != "operator"):
            return None, "" if plan.by == "operator" else f"task {other} has changed {target} within {window:g} s"
        row = self.db.one(BEGIN, task.phase, text, now, task.id, task.status, task.version)
        if row is None:
            return None, ""
        self.db.rows(INTENT, (task.id, target, row[0], task.phase, plan.recipe, text, json.dumps(undo), now))
        self.store.record(
            task.id, plan.by, "applying", before=f"{task.status}/{task.phase}", attempt=row[0], recipe=plan.recipe,
            steps=[step.text() for step in plan.steps], why=plan.reason, evidence=plan.evidence,
        )  # fmt: skip
        return int(row[0]), ""

    @unit
    def applied(self, task: Task, number: int, seconds: float) -> None:
        """Everything was carried out: the task waits for verification."""
        self.store.update_task_fix_attempt(task.id, number, "applied", f"took {seconds:.2f} s")
        self.store.move(task, "verifying", "all steps were carried out", actor="worker")

    def attempt_of(self, task_id: int) -> Applied | None:
        """Return the latest fix attempt of a task."""
        row = self.db.one(LATEST, task_id)
        if row is None:
            return None
        number, plan, undo, baseline, interrupted = row
        return Applied(number, Plan.from_json(plan), json.loads(undo), json.loads(baseline), bool(interrupted))

    def tried(self, task_id: int) -> frozenset[str]:
        """Return the recipes that did not work for a task."""
        return frozenset(row[0] for row in self.db.rows(TRIED, (task_id,)))

    @unit
    def set_baseline(self, task_id: int, number: int, baseline: dict[str, float]) -> None:
        """Store what verification compares with, so that a restart does not start it anew."""
        sql = "UPDATE attempts SET baseline = ? WHERE task_id = ? AND attempt = ?"
        self.db.one(sql, json.dumps(baseline), task_id, number)

    @unit
    def verified(self, task: Task, attempt: Applied) -> None:
        """The fix held: resolve, learn and tell, in one commit."""
        resolution = "approved" if attempt.plan.by == "operator" else "verified"
        self.store.update_task_fix_attempt(task.id, attempt.number, "verified", "ran on without a failure", "verifier")
        take_back(self.store, task, resolution, "verifier")
        learn(self.store, task.id, task.signature, attempt.plan.recipe, success=True)

    @unit
    def undone(self, task: Task, attempt: Applied, why: str, left: list[str]) -> None:
        """The fix did not hold and was undone but for what is `left`: learn from it and go on with the next phase.

        An attempt cut off by a crash teaches nothing; its phase is entered again.
        """
        why = f"interrupted by a crash: {why}" if attempt.interrupted else why
        outcome = f"{why}; could not be undone: {'; '.join(left)}" if left else why
        state = "failed" if left else "undone"
        self.store.update_task_fix_attempt(task.id, attempt.number, state, outcome, "verifier")
        if not attempt.interrupted:
            learn(self.store, task.id, task.signature, attempt.plan.recipe, success=False)
        phase = task.phase + (not attempt.interrupted)
        self.store.move(task, "diagnosing", why, actor="verifier", phase=phase)
