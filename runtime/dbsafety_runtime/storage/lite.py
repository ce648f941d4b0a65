"""SQLite storage: one writer thread with group commit, query-only readers per thread, failures classified once.

Callers hand the writer a function; all functions that wait are run in one BEGIN IMMEDIATE ... COMMIT, and a caller
returns after the commit. When one of them fails, all of it is undone and run again with a savepoint for each caller:
that costs a failing group a second run, and all the others nothing. No other connection of the process ever writes.
Those just served are about to ask again, so the writer waits for them, no longer than a commit takes: one commit for
all costs little more than one for half of them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar

from dbsafety_runtime.ops import metrics
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import Retryable, SchemaMismatch, StorageBug, StorageFault
from dbsafety_runtime.storage.litefile import Schema, Turnstile, create, statements
from dbsafety_runtime.storage.litetx import LiteTx, Part, Row, Spoiled, Ticket, abandon, classified, hand_back
from dbsafety_runtime.storage.scripts import known

BUSY_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 30.0
GROUP_LIMIT: Final = 256
LINGER_SECONDS: Final = 0.002
WAL_LIMIT: Final = 64 * 1024 * 1024
PRAGMAS: Final = ("journal_mode = WAL", "foreign_keys = ON", f"journal_size_limit = {WAL_LIMIT // 4}")

P = ParamSpec("P")
T = TypeVar("T")
_writer = threading.local()


class Owner(Protocol):
    """Whoever keeps its rows in a store."""

    db: LiteStore


S = TypeVar("S", bound=Owner)


def forbid_open_transaction(what: str) -> None:
    """Raise StorageBug when this thread is a writer in a transaction; called before anything slow or foreign."""
    if getattr(_writer, "busy", False):
        raise StorageBug(f"{what} inside a transaction")


def unit(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method a unit of work on its `db`: part of the unit it is called from, or the writer's next one.

    It may run again after a conflict, so it must have no other effect than its statements. What fails inside another
    unit has to fail that one too: there is no savepoint between them.
    """

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.db.is_writing():
            return method(self, *args, **kwargs)
        return self.db.write(lambda _tx: method(self, *args, **kwargs))

    return run


class LiteStore:
    """One database file: `write` runs functions in the writer thread, `reading` gives a query-only connection.

    `synchronous` FULL survives power loss, NORMAL is for what can be rebuilt. Raises a StorageFault or SchemaMismatch
    when the file cannot be used; close it to end the writer.
    """

    def __init__(
        self, path: Path, schema: Schema, *, synchronous: Literal["FULL", "NORMAL"] = "FULL",
        patience: float = PATIENCE_SECONDS,
    ) -> None:  # fmt: skip
        self.path, self._synchronous, self._patience = path, synchronous, patience
        self._pending: deque[Ticket[Any]] = deque()
        self._bell, self._awaited, self._closing = threading.Event(), 1, False
        self._local = threading.local()
        create(path)
        self._turnstile = Turnstile(path)
        self._thread = threading.Thread(target=self._run, name=f"writer-{path.stem}", daemon=True)
        self._thread.start()
        with ExitStack() as failed:
            failed.callback(self.close)
            self._retried(lambda: self._prepare(schema))
            failed.pop_all()

    def _retried(self, work: Callable[[], T]) -> T:
        limit = time.monotonic() + self._patience
        while True:
            try:
                return work()
            except Retryable:
                if time.monotonic() >= limit:
                    raise
            metrics.STORAGE_RETRIES.inc()
            time.sleep(0.02)  # SQLite refuses some locks at once, such as the switch to WAL (fact C2d)

    def _connect(self, *, readonly: bool) -> sqlite3.Connection:
        place = f"{self.path.absolute().as_uri()}?mode=rw"
        with ExitStack() as failed:
            try:
                conn = sqlite3.connect(place, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
                failed.callback(conn.close)
                for pragma in (*PRAGMAS, f"synchronous = {self._synchronous}", f"query_only = {readonly:d}"):
                    conn.execute(f"PRAGMA {pragma}").fetchall()
            except sqlite3.Error as error:
                raise classified(error) from error
            failed.pop_all()
        return conn

    def _prepare(self, schema: Schema) -> None:
        """Check the file and bring its schema up to date; safe when several processes start at once."""
        ((damage,),) = self.rows("PRAGMA quick_check(1)")
        if damage != "ok":
            raise StorageBug(f"{self.path} is damaged: {damage}")
        self.write(lambda tx: self._migrate(tx, schema))

    def _migrate(self, tx: LiteTx, schema: Schema) -> None:
        migrations = known(f"lite/{schema}")
        (version,) = tx.execute("PRAGMA user_version")[0]
        if version > migrations[-1].version:
            raise SchemaMismatch(f"{self.path} has schema {version}, this program knows {migrations[-1].version}")
        for migration in migrations[version:]:  # their numbers leave no gap
            for statement in statements(migration.sql):
                tx.execute(statement)
            tx.execute(f"PRAGMA user_version = {migration.version}")

    def write(self, work: Callable[[LiteTx], T]) -> T:
        """Run `work` in the writer's next transaction and return its result after the commit.

        `work` may run again after a conflict, so it must have no other effect than its statements. Raises what `work`
        raised (then nothing of it is stored), or a StorageFault when the commit failed.
        """
        forbid_open_transaction("a write")
        started = time.monotonic()
        ticket = Ticket(work)
        self._pending.append(ticket)
        if len(self._pending) >= self._awaited:  # the writer is woken once for a group, not once for each caller
            self._bell.set()
        try:
            return ticket.wait(self._thread.is_alive)
        finally:
            metrics.SECONDS_IN_STORE.observe(time.monotonic() - started)

    def is_writing(self) -> bool:
        """Say whether this is the writer's thread, so that statements are part of its transaction."""
        return threading.current_thread() is self._thread

    @property
    def tx(self) -> LiteTx | None:
        """The connection this thread holds: the writer's inside a unit of work, else that of a `reading` block."""
        held: LiteTx | None = getattr(self._local, "tx", None)
        return held

    @contextmanager
    def reading(self) -> Iterator[LiteTx]:
        """A query-only connection of this thread, closed when the outermost block of the thread ends."""
        if (held := self.tx) is not None:
            yield held
            return
        # While the writer replaces its connection SQLite may keep readers out for a moment.
        with closing(self._retried(lambda: self._connect(readonly=True))) as conn:
            self._local.tx = LiteTx(conn)
            try:
                yield self._local.tx
            finally:
                self._local.tx = None

    def rows(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement, in a unit of work as part of it, and return its rows; raises a StorageFault."""
        with self.reading() as tx:
            return tx.execute(sql, params)

    def one(self, sql: str, *params: object) -> Row | None:
        """Run one statement likewise and return its first row, None when there is none."""
        rows = self.rows(sql, params)
        return rows[0] if rows else None

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes."""
        return log.stat().st_size if (log := Path(f"{self.path}-wal")).exists() else 0

    def backup(self, target: Path) -> None:
        """Copy the database while it is in use, with all commits, into a new file of mode 0600.

        Raises FileExistsError when there is such a file, a StorageFault when it cannot be written and is removed.
        """
        create(target, new=True)
        with ExitStack() as failed:
            failed.callback(target.unlink)
            with closing(self._connect(readonly=True)) as source:
                try:
                    with closing(sqlite3.connect(target, timeout=BUSY_SECONDS, isolation_level=None)) as copy:
                        source.backup(copy)
                except sqlite3.Error as error:
                    raise classified(error) from error
            failed.pop_all()

    def close(self) -> None:
        """Commit what waits, stop the writer and close its connection."""
        self._closing = True
        self._bell.set()
        self._thread.join()
        self._turnstile.close()

    def _run(self) -> None:
        """Serve until told to stop; a connection that met a disk or file failure is replaced."""
        while self._pending or not self._closing:
            try:
                conn = self._connect(readonly=False)
            except StorageFault as fault:
                self._refuse(fault)
                continue
            with closing(conn):
                self._serve(conn)

    def _refuse(self, fault: StorageFault) -> None:
        """Fail all that wait, or the next that comes."""
        group = self._gather(1, None)
        for ticket in group:
            ticket.error = fault
        hand_back(group)

    def _gather(self, crowd: int, seconds: float | None) -> list[Ticket[Any]]:
        """Return those who wait once they are `crowd`, or after `seconds`."""
        self._awaited = max(1, min(crowd, GROUP_LIMIT))
        self._bell.clear()
        if len(self._pending) < self._awaited and not self._closing:
            self._bell.wait(seconds)
        return [self._pending.popleft() for _ in range(min(len(self._pending), GROUP_LIMIT))]

    def _serve(self, conn: sqlite3.Connection) -> None:
        crowd, spent, sound = 0, 0.0, True
        while sound:
            group = self._gather(crowd, min(spent, LINGER_SECONDS)) or self._gather(1, None)
            if not group and self._closing:
                return
            started = time.monotonic()
            sound = not group or self._commit(conn, group)
            spent, crowd = time.monotonic() - started, len(group) + len(self._pending)
            hand_back(group)

    def _commit(self, conn: sqlite3.Connection, group: list[Ticket[Any]], *, apart: bool = False) -> bool:
        """Commit a group, `apart` with savepoints; return False when the connection should be replaced."""
        self._turnstile.enter()
        _writer.busy = True
        tx = self._local.tx = LiteTx(conn)
        try:
            self._retried(lambda: tx.execute("BEGIN IMMEDIATE"))
            for ticket in group:
                with Part(tx, ticket, apart=apart):
                    ticket.value = ticket.work(tx)
            tx.settle()
            reach("lite_before_commit")
            tx.execute("COMMIT")
            reach("lite_after_commit")
        except Spoiled:
            fault = None
        except (StorageFault, sqlite3.Error) as error:
            fault = error if isinstance(error, StorageFault) else classified(error)
        else:
            return True
        finally:
            abandon(conn)
            _writer.busy, self._local.tx = False, None
            self._turnstile.leave()
        return self._failed(conn, group, fault)

    def _failed(self, conn: sqlite3.Connection, group: list[Ticket[Any]], fault: StorageFault | None) -> bool:
        """Nothing of the group was stored, without a `fault` of ours because of a caller, who knows it if it is alone.

        Otherwise the callers are run again: apart, or one by one when their commit failed for a lasting reason.
        """
        if fault is None and len(group) == 1:
            return True
        if fault is None:
            metrics.STORAGE_RETRIES.inc()
            return self._commit(conn, group, apart=True)
        if len(group) > 1 and not isinstance(fault, Retryable):
            sound = [self._commit(conn, [ticket]) for ticket in group]
            return all(sound)
        for ticket in group:
            ticket.error = fault
        metrics.DIRTY_CONNECTIONS.inc()
        return False  # a new connection costs little and may help
