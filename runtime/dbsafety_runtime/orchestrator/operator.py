"""What a human may do: approve, reject, pause, resume, explain; each is written down and takes effect in the cycle."""

from __future__ import annotations

from dataclasses import replace

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.escalate import HUMAN, withdraw
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import unit


class Refused(Exception):
    """The task is not in a state for this; the text is one sentence."""


@unit
def approve(store: IncidentStore, task_id: int, actor: str = "operator") -> None:
    """Let the orchestrator carry out the plan it has proposed; raises Refused."""
    task = store.task(task_id)
    if task is None or task.status != "escalated":
        raise Refused(f"task {task_id} does not wait for approval")
    if task.plan is None:
        raise Refused(f"task {task_id} has no plan to approve")
    store.move(task, "diagnosing", "approved", actor=actor, phase=HUMAN, plan=replace(task.plan, by="operator"))


@unit
def reject(store: IncidentStore, task_id: int, reason: str, actor: str = "operator") -> None:
    """Close a task without doing anything; `no action needed` counts as a false escalation. Raises Refused."""
    task = store.task(task_id)
    if task is None or task.status not in ("escalated", "detected", "suppressed", "diagnosing"):
        raise Refused(f"task {task_id} cannot be rejected now")
    withdraw(store, task, f"Rejected: {reason}")
    false_alarm = reason == "no action needed"
    store.close_task(task_id, "closed", f"rejected: {reason}", actor, false_alarm=false_alarm)


@unit
def pause(store: IncidentStore, target: str | None, *, on: bool, actor: str = "operator") -> None:
    """Forbid or allow fixes, of everything or of one service; detection goes on. Looked at before each fix."""
    store.set_control(f"paused:{target}" if target else "paused", "1" if on else "0")
    store.record(0, actor, "paused" if on else "resumed", target=target or "everything")


def explain(store: IncidentStore, task_id: int) -> list[str]:
    """Return the story of a task as lines: what it is, and every recorded step with its reason. Raises Refused."""
    task = store.task(task_id)
    if task is None:
        raise Refused(f"there is no task {task_id}")
    return page("task.txt", task=task, history=ledger.history(store.db, task_id)).splitlines()
