"""Statements, callers that wait and their savepoints, for the SQLite store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import zip_longest
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from dbsafety_runtime.ops import metrics
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.classify import classify_sqlite, fault_of
from dbsafety_runtime.storage.errors import Disconnected, Rejected, StorageBug, StorageFault

Row = tuple[Any, ...]
T = TypeVar("T")


def classified(error: sqlite3.Error) -> StorageFault:
    """Return the fault for a driver error; counts it."""
    fault = fault_of(classify_sqlite(error), str(error), getattr(error, "sqlite_errorname", None))
    metrics.STORAGE_FAULTS.labels(fault.fault.value).inc()
    return fault


class LiteTx:
    """Statements on one connection; every result is fetched at once, every failure comes out classified."""

    __slots__ = ("conn", "late")

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn
        self.late: list[tuple[Callable[[LiteTx, list[Any]], None], Any]] = []

    def execute(self, sql: str, params: Sequence[Any] = (), *, many: bool = False) -> list[Row]:
        """Run one statement, with `many` once for each row of `params`, and return its rows; raises a StorageFault."""
        reach("lite_statement")
        try:
            return (self.conn.executemany if many else self.conn.execute)(sql, params).fetchall()
        except sqlite3.Error as error:
            raise classified(error) from error
        except (OverflowError, UnicodeEncodeError) as error:  # a value SQLite has no type for
            raise Rejected(str(error)) from error

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row; raises a StorageFault."""
        self.execute(sql, rows, many=True)

    def at_end(self, store: Callable[[LiteTx, list[Any]], None], item: object) -> None:
        """Let `store` have `item` just before the commit, together with those of all other callers of the group."""
        self.late.append((store, item))

    def settle(self) -> None:
        """Run what was put off; raises a StorageFault, then nothing of the group is stored."""
        for store in dict.fromkeys(store for store, _ in self.late):
            store(self, [item for other, item in self.late if other is store])


class Ticket(Generic[T]):
    """A caller's work and, after the commit, its result."""

    __slots__ = ("_done", "_next", "_ready", "error", "value", "work")

    def __init__(self, work: Callable[[LiteTx], T]) -> None:
        self.work = work
        self.value: T | None = None
        self.error: BaseException | None = None
        self._next: Ticket[Any] | None = None
        self._ready = False
        self._done = threading.Lock()
        self._done.acquire()

    def decide(self, following: Ticket[Any] | None) -> None:
        """Nothing changes any more; whoever waits for this ticket wakes the one who waits for `following`."""
        self._next, self._ready = following, True

    def finish(self) -> None:
        """Let the caller go on."""
        self._done.release()

    def wait(self, alive: Callable[[], bool]) -> T:
        """Return the result after the commit, or raise what went wrong; `alive` says whether the writer still is.

        Should the caller that has to wake this one be interrupted, this one looks for itself after a second.
        """
        while not self._done.acquire(timeout=1.0) and not self._ready:
            if not alive() and not self._ready:
                raise Disconnected("the writer has stopped")
        if self._next is not None:
            self._next.finish()
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


def hand_back(group: Sequence[Ticket[Any]]) -> None:
    """Let all callers of a group go on, each woken by the one before: threads woken at once only fight for the GIL."""
    for ticket, following in zip_longest(group, group[1:]):
        ticket.decide(following)
    if group:
        group[0].finish()


class Spoiled(Exception):
    """A caller failed and had no savepoint to go back to: nothing of its group can be kept as it is."""


class Part:
    """One caller's part of a group, whose failure is kept for it: `apart` it is undone alone, else all is spoiled."""

    __slots__ = ("_apart", "_late", "_ticket", "_tx")

    def __init__(self, tx: LiteTx, ticket: Ticket[Any], *, apart: bool) -> None:
        self._tx, self._ticket, self._apart, self._late = tx, ticket, apart, len(tx.late)

    def __enter__(self) -> None:
        self._ticket.error = None
        if self._apart:
            self._tx.conn.execute("SAVEPOINT caller")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        conn, self._ticket.error = self._tx.conn, error
        if not conn.in_transaction:  # SQLite itself rolled back all of it, as it may after SQLITE_FULL
            raise error if isinstance(error, StorageFault) else StorageBug("a caller's transaction ended") from error
        if error is not None:
            if not self._apart:
                raise Spoiled from error
            conn.execute("ROLLBACK TO caller")
            del self._tx.late[self._late :]
        if self._apart:
            conn.execute("RELEASE caller")
        return True


def abandon(conn: sqlite3.Connection) -> None:
    """Roll back what is open; a connection that cannot even do that is refused by its next BEGIN and then replaced."""
    try:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
    except sqlite3.Error:
        metrics.DIRTY_CONNECTIONS.inc()
