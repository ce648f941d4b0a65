"""Statements, savepoints and waiting callers of the SQLite store."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
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

    __slots__ = ("_conn",)

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement and return its rows; raises a StorageFault."""
        reach("lite_statement")
        try:
            return self._conn.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            raise classified(error) from error
        except (OverflowError, UnicodeEncodeError) as error:  # a value SQLite has no type for
            raise Rejected(str(error)) from error

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """Run one statement and return its first row, None when there is none; raises a StorageFault."""
        rows = self.execute(sql, params)
        return rows[0] if rows else None

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row; raises a StorageFault."""
        try:
            self._conn.executemany(sql, rows)
        except sqlite3.Error as error:
            raise classified(error) from error


class Ticket(Generic[T]):
    """A caller's work and, after the commit, its result."""

    __slots__ = ("_done", "error", "value", "work")

    def __init__(self, work: Callable[[LiteTx], T]) -> None:
        self.work = work
        self.value: T | None = None
        self.error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def finish(self) -> None:
        """Let the caller go on."""
        self._done.release()

    def wait(self, alive: Callable[[], bool]) -> T:
        """Return the result after the commit, or raise what went wrong; `alive` says whether the writer still is."""
        while not self._done.acquire(timeout=1.0):
            if not alive() and not self._done.acquire(blocking=False):
                raise Disconnected("the writer has stopped")
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


class Savepoint:
    """One caller's part of a group: its failure is undone and kept for the caller, the group goes on."""

    __slots__ = ("_conn", "_ticket")

    def __init__(self, conn: sqlite3.Connection, ticket: Ticket[Any]) -> None:
        self._conn, self._ticket = conn, ticket

    def __enter__(self) -> None:
        self._ticket.error = None
        self._conn.execute("SAVEPOINT caller")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._ticket.error = error
            if not self._conn.in_transaction:  # SQLite itself rolled back all of it, as it may after SQLITE_FULL
                raise error if isinstance(error, StorageFault) else StorageBug(f"the transaction ended: {error}")
            self._conn.execute("ROLLBACK TO caller")
        self._conn.execute("RELEASE caller")
        return True


def abandon(conn: sqlite3.Connection) -> None:
    """Roll back what is open; a connection that cannot even do that is refused by its next BEGIN and then replaced."""
    try:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
    except sqlite3.Error:
        metrics.DIRTY_CONNECTIONS.inc()
