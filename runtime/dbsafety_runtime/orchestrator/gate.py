"""Phase 0: rules that decide whether an issue needs treatment at all, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.model import SPECIFICITY, Service, Task

RECHECK_SECONDS: Final = 2.0
PROACTIVE: Final = ("path_invalid",)


Verdict = tuple[Literal["act", "wait", "suppress", "recovered"], str, int | None]
"""What the gate says: act now, look again later, suppress under a parent, or drop as recovered; why; the parent."""


def elapsed(since: float, now: float, seconds: float) -> bool:
    """Say whether `seconds` have passed; after the wall clock was set back nobody waits for a time that has been."""
    return not since <= now < since + seconds


def is_healthy(service: Service | None, now: float, settle: float) -> bool:
    """Say whether a service runs and has done so for `settle` seconds."""
    return service is not None and service.state == "running" and elapsed(service.started, now, settle)


def rank(task: Task) -> int:
    """Return how specific a task's kind is; lower is more specific."""
    return SPECIFICITY.index(task.issue.type) if task.issue.type in SPECIFICITY else len(SPECIFICITY)


def judge(
    task: Task, service: Service | None, others: Sequence[Task], storm: int | None, now: float,
    settings: OrchestratorSettings,
) -> Verdict:  # fmt: skip
    """Return what to do with a detected or suppressed task, given the others of its target and the storm it is in."""
    runs_again = is_healthy(service, now, settings.settle + settings.grace) and task.issue.type not in PROACTIVE
    if runs_again and elapsed(task.last_seen, now, settings.grace):
        return "recovered", "the service runs again", None
    if cause := cause_of(task, others):
        return "suppress", f"a symptom of task {cause.id} ({cause.issue.type})", cause.id
    if storm is not None:
        return "suppress", f"one of many like task {storm} at once", storm
    if task.issue.type in PROACTIVE:
        return "act", "it will not start like this", None
    if not elapsed(task.first_seen, now, settings.grace):
        return "wait", "may be transient", None
    state = service.state if service is not None else ""
    if state == "starting" and not elapsed(task.first_seen, now, settings.patience):
        return "wait", "its manager is still trying", None
    if state == "running" and task.issue.type != "flapping":
        return "wait", "it runs again, perhaps for good", None
    return "act", "not transient", None


def cause_of(task: Task, others: Sequence[Task]) -> Task | None:
    """Return another open task of the same target that explains this one."""
    causes = [other for other in others if (rank(other), other.id) < (rank(task), task.id) and other.parent is None]
    return min(causes, key=lambda other: (rank(other), other.id), default=None)
