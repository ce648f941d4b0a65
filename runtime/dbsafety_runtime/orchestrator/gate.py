"""Phase 0: rules that decide whether an issue needs treatment at all, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.model import SPECIFICITY, Service, Task

RECHECK_SECONDS: Final = 2.0
PROACTIVE: Final = ("path_invalid",)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says: act now, look again later, suppress under a parent, or drop as recovered."""

    kind: Literal["act", "wait", "suppress", "recovered"]
    why: str
    parent: int | None = None


def is_healthy(service: Service | None, now: float, settle: float) -> bool:
    """Say whether a service runs and has done so for `settle` seconds."""
    return service is not None and service.state == "running" and now - service.started >= settle


def rank(task: Task) -> int:
    """Return how specific a task's kind is; lower is more specific."""
    return SPECIFICITY.index(task.issue.type) if task.issue.type in SPECIFICITY else len(SPECIFICITY)


def judge(
    task: Task, service: Service | None, open_tasks: Sequence[Task], now: float, settings: OrchestratorSettings
) -> Verdict:
    """Return what to do with a detected or suppressed task."""
    runs_again = is_healthy(service, now, settings.settle + settings.grace) and task.issue.type not in PROACTIVE
    if runs_again and task.last_seen < now - settings.grace:
        return Verdict("recovered", "the service runs again")
    cause = _cause(task, open_tasks)
    if cause is not None:
        return Verdict("suppress", f"a symptom of task {cause.id} ({cause.issue.type})", cause.id)
    first = _storm(task, open_tasks, settings)
    if first is not None:
        return Verdict("suppress", f"one of many like task {first.id} at once", first.id)
    if task.issue.type in PROACTIVE or task.first_seen + settings.grace <= now:
        if service is not None and service.state == "starting" and task.first_seen + settings.patience > now:
            return Verdict("wait", "its manager is still trying")
        return Verdict("act", "not transient")
    return Verdict("wait", "may be transient")


def _cause(task: Task, open_tasks: Sequence[Task]) -> Task | None:
    """Return another open task of the same target that explains this one."""
    others = [other for other in open_tasks if other.issue.target == task.issue.target and other.id != task.id]
    causes = [other for other in others if (rank(other), other.id) < (rank(task), task.id) and other.parent is None]
    return min(causes, key=lambda other: (rank(other), other.id), default=None)


def _storm(task: Task, open_tasks: Sequence[Task], settings: OrchestratorSettings) -> Task | None:
    """Return the first of more than `storm` like tasks that began within a minute, unless this is the first."""
    alike = [
        other
        for other in open_tasks
        if other.issue.type == task.issue.type and abs(other.first_seen - task.first_seen) < 60 and not _caused(other)
    ]
    first = min(alike, key=lambda other: other.id, default=task)
    return first if len(alike) > settings.storm and first.id != task.id else None


def _caused(task: Task) -> bool:
    return task.status not in ("detected", "suppressed", "diagnosing", "escalated")
