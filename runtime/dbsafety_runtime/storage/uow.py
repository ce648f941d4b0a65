"""The unit of work: the one place of the executor that begins, commits and rolls back.

Leaving the block normally commits, by any exception rolls back; a session is returned clean or closed. A transaction
in which a statement failed is never committed: PostgreSQL would answer COMMIT with a silent rollback (fact B2).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import uuid4

import psycopg2
import psycopg2.extensions as ext

from dbsafety_runtime.ops import metrics
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import (
    CommitRefused,
    CommitUnknown,
    Disconnected,
    Rejected,
    Retryable,
    StorageBug,
    StorageFault,
)
from dbsafety_runtime.storage.pg import JITTER, Params, Pool, Row, Session, Target, classified, side_session

CURRENT_XID: Final = "SELECT pg_current_xact_id_if_assigned()::text, to_regclass('commit_marker') IS NOT NULL"
# A transaction whose records never left a crashed server's memory leaves its number to be given out again: "committed"
# may then speak of another one. So every transaction that is not repeatable leaves what only it can have written.
MARK: Final = "INSERT INTO commit_marker (token) VALUES (%s)"
MARKED: Final = "SELECT EXISTS (SELECT FROM commit_marker WHERE token = %s)"
XID_STATUS: Final = "SELECT pg_xact_status(%s::text::xid8)"
# The backend of a lost session may still sit in its transaction; ended, the answer becomes final.
END_BACKEND: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = %s AND backend_xid::text::bigint = mod(%s::bigint, 4294967296)
"""
RESOLVE_SECONDS: Final = 20.0
# Planning the claim costs more than running it, so its plan is kept; not for long, as one made while a table was empty
# is soon a bad one.
PLAN_ONCE: Final = "SET plan_cache_mode = force_generic_plan; "
PLAN_SECONDS: Final = 5.0
BEGIN: Final = "BEGIN; "

T = TypeVar("T")
_active = threading.local()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement the server plans once per session: its name, parameter types and text with $1, $2, ..."""

    name: str
    types: str
    sql: str


def forbid_open_transaction(what: str) -> None:
    """Raise StorageBug when this thread is inside a unit of work; call it before anything slow or foreign."""
    if getattr(_active, "tx", None) is not None:
        raise StorageBug(f"{what} inside a unit of work")


def reclaim() -> bool:
    """End the unit of work that foreign code left open on this thread, closing its session; False when none is."""
    tx: Transaction | None = getattr(_active, "tx", None)
    if tx is None:
        return False
    tx.abandon()
    _active.tx = None
    return True


class Transaction:
    """The statements of one unit of work; dead after its block.

    The sessions are in autocommit, and the first statement carries the BEGIN: one round trip instead of two.
    """

    def __init__(self, conn: Session, begin: str) -> None:
        self._conn: Session | None = conn
        self._begin = begin
        self.xid: str | None = None
        self.proof: tuple[str, tuple[object, ...]] | None = None
        self.repeatable = False
        self._broken = False

    def _session(self) -> Session:
        if self._conn is None:
            raise StorageBug("a transaction was used after its unit of work had ended")
        return self._conn

    def execute(self, sql: str, params: Params = None) -> list[Row]:
        """Run one statement and return its rows ([] when it gives none); raises a StorageFault."""
        conn = self._session()
        reach("before_statement")
        try:
            rows = conn.rows(self._begin + sql if conn.idle else sql, params)
        except psycopg2.Error as error:
            self._broken = self._broken or (self._begin != "" and conn.idle)  # a syntax error: nor did the BEGIN run
            raise classified(error, conn) from error
        except ValueError as error:  # psycopg2 refuses NUL in text before anything is sent (fact B1b)
            raise Rejected(str(error)) from error
        reach("after_statement")
        if self._begin and conn.idle:
            self._broken = True
            raise StorageBug("a statement has ended its unit of work: leave COMMIT and ROLLBACK to the block's end")
        return rows

    def call(self, statement: Prepared, *params: object) -> list[Row]:
        """Run a prepared statement, preparing it on the session's first use and planning it anew from time to time."""
        conn, now = self._session(), time.monotonic()
        if statement.name not in conn.prepared:
            self.execute(f"{PLAN_ONCE}PREPARE {statement.name} ({statement.types}) AS {statement.sql}")
            conn.prepared, conn.planned = conn.prepared | {statement.name}, now
        elif now - conn.planned > PLAN_SECONDS:
            self.execute(f"{PLAN_ONCE}DISCARD PLANS")
            conn.planned = now
        return self.execute(f"EXECUTE {statement.name} ({', '.join(['%s'] * len(params))})", params)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """An optional step: its failure is undone and raised again, the transaction stays usable."""
        self.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            if self._session().closed == 0:
                self.execute("ROLLBACK TO SAVEPOINT step")
            raise
        self.execute("RELEASE SAVEPOINT step")

    @property
    def failed(self) -> bool:
        """Whether a statement has failed, so that nothing of this transaction can be committed."""
        return self._broken or self._session().get_transaction_status() == ext.TRANSACTION_STATUS_INERROR

    def end(self) -> None:
        """Forget the session: later use raises."""
        self._conn = None

    def abandon(self) -> None:
        """Close the session under the transaction: the server rolls it back."""
        self._session().close()
        self.end()

    @property
    def backend(self) -> int:
        """The server's process id of the session."""
        return self._session().info.backend_pid


class Store:
    """Units of work on one database, over a bounded pool of its own."""

    def __init__(
        self, target: Target, *, size: int = 1, wait: float = 5.0, scrub: bool = False, tries: int = 5
    ) -> None:
        self.target = target
        self._tries = tries
        self._pool = Pool(target, size, wait=wait, scrub=scrub)

    def write(self) -> AbstractContextManager[Transaction]:
        """A read-write unit of work: commits when the block ends normally.

        Raises CommitRefused when a statement had failed and the failure was swallowed, Disconnected when the session
        was lost before the commit or the server says the commit did not happen, CommitUnknown when it cannot say.
        """
        return self._unit(BEGIN, self._commit)

    def read(self) -> AbstractContextManager[Transaction]:
        """A read-only unit of work; leaves no session idle in transaction."""
        return self._unit("BEGIN READ ONLY; ", self._end_read)

    @contextmanager
    def _unit(self, begin: str, finish: Callable[[Session, Transaction], None]) -> Iterator[Transaction]:
        forbid_open_transaction("a second unit of work")
        conn = self._pool.take()
        tx = Transaction(conn, begin)
        started = time.monotonic()
        _active.tx = tx
        try:
            yield tx
            finish(conn, tx)
        except BaseException:
            _rollback(conn)
            raise
        finally:
            _active.tx = None
            tx.end()
            self._pool.give(conn)
            metrics.SECONDS_IN_STORE.observe(time.monotonic() - started)

    def _refuse_failed(self, tx: Transaction) -> None:
        if tx.failed:
            raise CommitRefused(
                "a statement of this unit of work failed and the failure was swallowed: nothing was saved"
            )

    def _end_read(self, conn: Session, tx: Transaction) -> None:
        self._refuse_failed(tx)
        _rollback(conn)

    def _commit(self, conn: Session, tx: Transaction) -> None:
        self._refuse_failed(tx)
        if conn.idle:
            return  # no statement has reached the server, or each has been committed by itself
        if tx.xid is None and not tx.repeatable:
            self._mark(tx)
        pid = conn.info.backend_pid
        reach("before_commit")
        try:
            conn.rows("COMMIT")
        except psycopg2.Error as error:
            if conn.closed == 0:
                raise classified(error, conn) from error
            if tx.repeatable:
                raise Disconnected("the session was lost during commit; running it twice does no harm") from error
            if tx.xid is not None and not self._resolve(tx.xid, pid, tx.proof):
                raise Disconnected("the session was lost during commit; the server says it was rolled back") from error
        reach("after_commit")

    def _mark(self, tx: Transaction) -> None:
        """Learn the transaction's number and leave a mark, when it has written anything."""
        tx.xid, markers = tx.execute(CURRENT_XID)[0]
        if tx.xid is not None and markers:
            token = str(uuid4())
            tx.execute(MARK, (token,))
            tx.proof = (MARKED, (token,))

    def _resolve(self, xid: str, pid: int, proof: tuple[str, tuple[object, ...]] | None) -> bool:
        """Ask the server on new sessions until it says whether `xid` was committed; raises CommitUnknown.

        "aborted" is final; "committed" counts when `proof`, a query for what only this transaction wrote, agrees.
        """
        deadline = time.monotonic() + RESOLVE_SECONDS
        while time.monotonic() < deadline:
            try:
                with side_session(self.target) as conn:
                    outcome = _ask(conn, xid, pid, proof)
            except StorageFault:
                outcome = None
            if outcome is not None:
                metrics.COMMITS_RESOLVED.labels("committed" if outcome else "aborted").inc()
                return outcome
            time.sleep(JITTER.uniform(0.02, 0.2))
        raise CommitUnknown(
            f"the server did not say within {RESOLVE_SECONDS:.0f} s whether transaction {xid} was committed"
        )

    def run(self, work: Callable[[Transaction], T], *, repeatable: bool = False, autocommit: bool = False) -> T:
        """Run `work` in a unit of work; after a conflict or a lost session again as a whole, with full jitter.

        `repeatable` work may run again even if its first commit counted: no question is asked about a lost answer.
        With `autocommit` that holds, too, and each statement is a transaction by itself: one round trip.
        """
        for attempt in range(1, self._tries + 1):
            try:
                with self._unit("" if autocommit else BEGIN, self._commit) as tx:
                    tx.repeatable = repeatable
                    return work(tx)
            except (Retryable, Disconnected):
                if attempt == self._tries:
                    raise
                metrics.STORAGE_RETRIES.inc()
            time.sleep(JITTER.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise StorageBug("a unit of work needs at least one try")

    def close(self) -> None:
        """Close the pool's idle sessions."""
        self._pool.close()


def _ask(conn: Session, xid: str, pid: int, proof: tuple[str, tuple[object, ...]] | None) -> bool | None:
    """Whether `xid` was committed, None while the server cannot say."""
    ((answer,),) = conn.rows(XID_STATUS, (xid,))
    if answer == "in progress":
        conn.rows(END_BACKEND, (pid, xid))
    if answer != "committed" or proof is None:
        return {"committed": True, "aborted": False}.get(answer)
    ((proven,),) = conn.rows(*proof)
    return bool(proven)


def _rollback(conn: Session) -> None:
    """Roll back; a session that cannot is closed, so that the pool replaces it. Never hides the first error."""
    if conn.idle:
        return
    try:
        conn.rows("ROLLBACK")
    except psycopg2.Error:
        conn.close()
