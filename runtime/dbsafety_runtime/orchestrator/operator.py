"""What a human may do: approve, reject, pause, resume, explain; each is written down and takes effect in the cycle."""

from __future__ import annotations

import json
from dataclasses import replace

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.escalate import withdraw
from dbsafety_runtime.orchestrator.phases import HUMAN
from dbsafety_runtime.orchestrator.store import SET_CONTROL, IncidentStore
from dbsafety_runtime.storage.litetx import LiteTx


class Refused(Exception):
    """The task is not in a state for this; the text is one sentence."""


def approve(store: IncidentStore, task_id: int, actor: str = "operator") -> None:
    """Let the orchestrator carry out the plan it has proposed; raises Refused."""
    task = store.task(task_id)
    if task is None or task.status != "escalated":
        raise Refused(f"task {task_id} does not wait for approval")
    if task.plan is None:
        raise Refused(f"task {task_id} has no plan to approve")
    plan = replace(task.plan, by="operator").to_json()

    def work(tx: LiteTx) -> bool:
        return store.move(tx, task, "diagnosing", "approved", actor=actor, phase=HUMAN, plan=plan)

    if not store.db.write(work):
        raise Refused(f"task {task_id} was changed meanwhile")


def reject(store: IncidentStore, task_id: int, reason: str, actor: str = "operator") -> None:
    """Close a task without doing anything; `no action needed` counts as a false escalation. Raises Refused."""
    task = store.task(task_id)
    if task is None or task.status not in ("escalated", "detected", "suppressed", "diagnosing"):
        raise Refused(f"task {task_id} cannot be rejected now")

    def work(tx: LiteTx) -> bool:
        withdraw(tx, task, f"Rejected: {reason}")
        if reason == "no action needed":
            tx.execute("UPDATE tasks SET false_alarm = 1 WHERE id = ?", (task_id,))
        return store.close(tx, task_id, "closed", f"rejected: {reason}", actor)

    if not store.db.write(work):
        raise Refused(f"task {task_id} was changed meanwhile")


def pause(store: IncidentStore, target: str | None, *, on: bool, actor: str = "operator") -> None:
    """Forbid or allow fixes, of everything or of one service; detection goes on. Looked at before each fix."""
    name = f"paused:{target}" if target else "paused"

    def work(tx: LiteTx) -> None:
        tx.execute(SET_CONTROL, (name, "1" if on else "0", store.clock()))
        ledger.record(tx, store.clock(), 0, actor, "paused" if on else "resumed", target=target or "everything")

    store.db.write(work)


def explain(store: IncidentStore, task_id: int) -> list[str]:
    """Return the story of a task as lines: what it is, and every recorded step with its reason. Raises Refused."""
    task = store.task(task_id)
    if task is None:
        raise Refused(f"there is no task {task_id}")
    lines = [
        f"task {task.id}: {task.issue.type} on {task.issue.target}, seen {task.occurrences} times",
        f"  {task.status}, phase {task.phase}: {task.issue.message}",
    ]
    if task.plan is not None:
        lines += [f"  plan {task.plan.recipe} by {task.plan.by} ({task.plan.confidence:.2f}): {task.plan.reason}"]
        lines += [f"    {step.text()}" for step in task.plan.steps]
        lines += [f"    evidence: {item}" for item in task.plan.evidence]
    for entry in ledger.history(store.db, task_id):
        details = ", ".join(f"{name}: {value}" for name, value in json.loads(entry.details).items())
        lines.append(f"  {entry.at - task.first_seen:+8.1f} s  {entry.actor}: {entry.action}  {details}")
    return lines
