"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dbsafety_runtime.executor.inspect import Status


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def status(seen: Status) -> RenderableType:
    """The queue's status: what is most likely stuck comes first."""
    ages = _table("ages", "oldest due", "oldest running", "longest past its lease", "stuck")
    ages.add_row(_age(seen.oldest_due), _age(seen.oldest_running), _age(seen.lease_lag), str(seen.stuck))
    counts = _table("tasks", "assignee", "status", "count")
    for assignee, state, count in seen.counts:
        counts.add_row(Text(assignee), state, str(count))
    workers = _table("workers", "worker", "assignee", "host", "pid", "last seen", "alive")
    for worker in seen.workers:
        row = (worker.worker_id, worker.assignee, worker.host, str(worker.pid), _age(worker.seen))
        workers.add_row(*map(Text, row), "yes" if worker.alive else "NO")
    failures = _table("last failures", "task", "kind", "assignee", "status", "error", "message")
    for failure in seen.failures:
        failures.add_row(*(Text(str(value or "")[:200]) for value in failure))
    return Group(ages, counts, workers, failures)


def history(events: Sequence[Mapping[str, object]]) -> RenderableType:
    """A task's events in order."""
    table = _table("history", "at", "attempt", "event", "actor", "detail")
    for event in events:
        detail = event["detail"]
        shown = f"{detail['class']}: {detail['message']}" if isinstance(detail, dict) and "class" in detail else detail
        cells = (*(event[name] for name in ("at", "attempt", "event", "actor")), shown)
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in cells))
    return table
