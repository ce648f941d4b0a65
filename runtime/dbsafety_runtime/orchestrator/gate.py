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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The open tasks of the same target, and how many like it began within a minute, with the first of them."""

    same_target: Sequence[Task] = ()
    alike: int = 0
    first_alike: int = 0


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
    task: Task, service: Service | None, around: Surroundings, now: float, settings: OrchestratorSettings
) -> Verdict:
    """Return what to do with a detected or suppressed task."""
    runs_again = is_healthy(service, now, settings.settle + settings.grace) and task.issue.type not in PROACTIVE
    if runs_again and elapsed(task.last_seen, now, settings.grace):
        return Verdict("recovered", "the service runs again")
    cause = cause_of(task, around.same_target)
    if cause is not None:
        return Verdict("suppress", f"a symptom of task {cause.id} ({cause.issue.type})", cause.id)
    if around.alike > settings.storm and around.first_alike != task.id:
        return Verdict("suppress", f"one of many like task {around.first_alike} at once", around.first_alike)
    state = service.state if service is not None else ""
    if task.issue.type in PROACTIVE:
        return Verdict("act", "it will not start like this")
    if not elapsed(task.first_seen, now, settings.grace):
        return Verdict("wait", "may be transient")
    if state == "starting" and not elapsed(task.first_seen, now, settings.patience):
        return Verdict("wait", "its manager is still trying")
    if state == "running" and task.issue.type != "flapping":
        return Verdict("wait", "it runs again, perhaps for good")
    return Verdict("act", "not transient")


def cause_of(task: Task, others: Sequence[Task]) -> Task | None:
    """Return another open task of the same target that explains this one."""
    causes = [other for other in others if (rank(other), other.id) < (rank(task), task.id) and other.parent is None]
    return min(causes, key=lambda other: (rank(other), other.id), default=None)
