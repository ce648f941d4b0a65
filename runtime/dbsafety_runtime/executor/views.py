"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from dbsafety_runtime.executor.inspect import Status

HISTORY: Final = ("at", "attempt", "event", "actor", "detail")


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    table = Table(*(Column(name, overflow="fold") for name in columns), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)[:200]) for cell in row))
    return table


def status(seen: Status) -> RenderableType:
    """The queue's status: what is most likely stuck comes first."""
    ages = (_age(seen.oldest_due), _age(seen.oldest_running), _age(seen.lease_lag), seen.stuck)
    workers = (
        (worker.worker_id, worker.assignee, worker.host, worker.pid, _age(worker.seen), "yes" if worker.alive else "NO")
        for worker in seen.workers
    )
    return Group(
        _table("ages", ("oldest due", "oldest running", "longest past its lease", "stuck"), [ages]),
        _table("tasks", ("assignee", "status", "count"), seen.counts),
        _table("workers", ("worker", "assignee", "host", "pid", "last seen", "alive"), workers),
        _table("last failures", ("task", "kind", "assignee", "status", "error", "message"), seen.failures),
    )


def history(events: Sequence[Mapping[str, object]]) -> RenderableType:
    """A task's events in order."""
    return _table("history", HISTORY, (map(_shown, map(event.get, HISTORY)) for event in events))


def _shown(cell: object) -> object:
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "milliseconds")
    return f"{cell['class']}: {cell['message']}" if isinstance(cell, dict) and "class" in cell else cell
