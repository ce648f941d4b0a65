"""The audit trail: append-only history rows, each carrying the hash of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from dbsafety_runtime.storage.lite import LiteStore
from dbsafety_runtime.storage.litetx import LiteTx

APPEND: Final = """
INSERT INTO task_history (id, task_id, at, actor, action, details, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
PAGE: Final = """
SELECT id, task_id, at, actor, action, details, prev_hash, hash FROM task_history WHERE id > ? ORDER BY id LIMIT 500
"""
NEWS: Final = """
SELECT coalesce(target, ''), h.id, task_id, at, actor, action, details FROM task_history h
LEFT JOIN tasks ON tasks.id = task_id WHERE h.id > ? ORDER BY h.id
"""
START: Final = b"\0" * 32


class Entry(NamedTuple):
    """One row of the history."""

    id: int
    task_id: int
    at: float
    actor: str
    action: str
    details: str

    @property
    def told(self) -> str:
        """What people want to know of it: what was used, what was seen, why."""
        known = json.loads(self.details)
        return ": ".join(str(known[name]) for name in ("recipe", "message", "ref", "why") if known.get(name))


def _hash(previous: bytes, entry: tuple[object, ...]) -> bytes:
    return hashlib.sha256(previous + repr(entry).encode()).digest()


def record(tx: LiteTx, now: float, task_id: int, actor: str, action: str, **details: object) -> None:
    """Append a row in the caller's transaction; `task_id` 0 stands for the orchestrator itself."""
    text = json.dumps(details, default=str) if details else "{}"
    tx.at_end(_append, (task_id, float(now), actor, action, text))


def _append(tx: LiteTx, entries: list[tuple[Any, ...]]) -> None:
    """Chain the entries of a whole group: the end of the chain is looked up once, the rows go in as one statement."""
    ((last, previous),) = tx.execute("SELECT id, hash FROM task_history ORDER BY id DESC LIMIT 1") or [(0, START)]
    rows = []
    for number, entry in enumerate(entries, last + 1):
        numbered = (number, *entry)
        rows.append((*numbered, previous, _hash(previous, numbered)))
        previous = rows[-1][-1]
    tx.many(APPEND, rows)


def verify(store: LiteStore) -> tuple[int, tuple[str, ...]]:
    """Return the number of rows and one sentence for each row that was removed, edited or put in between."""
    count, expected, previous = 0, 1, START
    problems: list[str] = []
    with store.reading():
        while rows := store.rows(PAGE, (expected - 1,)):
            for row in rows:
                problems += _problems(row, expected, previous)
                count, expected, previous = count + 1, row[0] + 1, row[7]
        highest = store.one("SELECT seq FROM sqlite_sequence WHERE name = 'task_history'")
    if highest and highest[0] >= expected:
        problems.append(f"row {expected} to {highest[0]} removed at the end")
    return count, tuple(problems)


def _problems(row: tuple[Any, ...], expected: int, previous: bytes) -> list[str]:
    problems = []
    if row[0] != expected:
        gap = str(expected) if row[0] == expected + 1 else f"{expected} to {row[0] - 1}"
        problems.append(f"row {gap} removed before row {row[0]}")
    elif row[6] != previous:
        problems.append(f"row {row[0]} does not continue row {row[0] - 1}")
    if row[7] != _hash(row[6], tuple(row[:6])):
        problems.append(f"row {row[0]} edited (task {row[1]}, {row[4]})")
    return problems


def news(store: LiteStore, after: int) -> Iterator[tuple[Entry, str]]:
    """Yield the rows after row `after`, oldest first, each with the target of its task."""
    for target, *row in store.rows(NEWS, (after,)):
        yield Entry(*row), target


def history(store: LiteStore, task_id: int) -> tuple[Entry, ...]:
    """Return the rows of one task, oldest first."""
    sql = "SELECT id, task_id, at, actor, action, details FROM task_history WHERE task_id = ? ORDER BY id"
    return tuple(Entry(*row) for row in store.rows(sql, (task_id,)))
