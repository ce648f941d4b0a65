"""Looking at the queue: status, health, history. Read-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import SchemaMismatch, StorageFault
from dbsafety_runtime.storage.uow import Store

COUNTS: Final = "SELECT assignee, status, count(*) FROM jr_task_announcements GROUP BY 1, 2 ORDER BY 1, 2"
AGES: Final = """
SELECT
  (SELECT extract(epoch FROM clock_timestamp() - min(run_at))::float8 FROM jr_task_announcements
    WHERE status = 'assigned' AND run_at <= clock_timestamp()),
  (SELECT extract(epoch FROM clock_timestamp() - min(started_at))::float8 FROM jr_task_announcements
    WHERE status = 'in_progress'),
  (SELECT extract(epoch FROM clock_timestamp() - min(lease_until))::float8 FROM jr_task_announcements
    WHERE status = 'in_progress' AND lease_until < clock_timestamp()),
  (SELECT count(*) FROM jr_task_announcements WHERE status = 'in_progress' AND lease_until < clock_timestamp())
"""
WORKERS: Final = """
SELECT worker_id::text, assignee, host, pid, extract(epoch FROM clock_timestamp() - seen_at)::float8,
  seen_at > clock_timestamp() - 3 * heartbeat FROM worker ORDER BY seen_at DESC LIMIT 50
"""
FAILURES: Final = """
SELECT task_id, kind, assignee, status, last_error->>'class', last_error->>'message' FROM jr_task_announcements
WHERE status IN ('failed', 'dead') ORDER BY finished_at DESC LIMIT 5
"""
HISTORY: Final = """
SELECT at, attempt, event, actor::text, detail FROM task_history WHERE task_id = %s ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker's row: seconds since its last heartbeat, and whether that is recent."""

    worker_id: str
    assignee: str
    host: str
    pid: int
    seen: float
    alive: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The queue at one moment; ages in seconds by the database's clock, None when there is no such task."""

    counts: tuple[tuple[Any, ...], ...]
    oldest_due: float | None
    oldest_running: float | None
    lease_lag: float | None
    stuck: int
    workers: tuple[WorkerSeen, ...]
    failures: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict: code 0 healthy, 1 degraded, 2 down; the reasons, worst first."""

    code: int
    reasons: tuple[str, ...]
    schema: int | None = None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return ("healthy", "degraded", "down")[self.code]


def status(store: Store) -> Status:
    """Return the queue's status in one read-only unit of work."""
    with store.read() as tx:
        due, running, lag, stuck = tx.execute(AGES)[0]
        workers = tuple(WorkerSeen(*row) for row in tx.execute(WORKERS))
        return Status(tuple(tx.execute(COUNTS)), due, running, lag, stuck, workers, tuple(tx.execute(FAILURES)))


def health(store: Store, *, assignee: str | None = None, max_due: float = 60.0) -> Health:
    """Judge from the database alone: reachable, schema, heartbeats, stuck tasks, age of due tasks (limit in s)."""
    try:
        schema = migrate.check(store)
        seen = status(store)
    except SchemaMismatch as error:
        return Health(2, (str(error),))
    except StorageFault as fault:
        return Health(2, (f"database: {fault}",))
    living = [worker for worker in seen.workers if worker.alive and assignee in (None, worker.assignee)]
    reasons = []
    if seen.stuck:
        reasons.append(f"{seen.stuck} tasks past their lease, the longest for {seen.lease_lag:.0f} s")
    if seen.oldest_due is not None and seen.oldest_due > max_due:
        reasons.append(f"a task has been due for {seen.oldest_due:.0f} s")
    if not living:
        return Health(2, (f"no living worker{f' for {assignee}' if assignee else ''}", *reasons), schema)
    return Health(1 if reasons else 0, tuple(reasons), schema)


def history(store: Store, task_id: int) -> tuple[Mapping[str, object], ...]:
    """Return a task's events, oldest first."""
    names = ("at", "attempt", "event", "actor", "detail")
    with store.read() as tx:
        return tuple(dict(zip(names, row, strict=True)) for row in tx.execute(HISTORY, (task_id,)))
