"""PostgreSQL sessions: one connection factory with limits on every wait, and a bounded pool that resets on return."""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from queue import Empty, LifoQueue
from typing import Any, Final

import psycopg2
import psycopg2.extensions as ext

from dbsafety_runtime.ops import metrics
from dbsafety_runtime.storage.classify import classify_sqlstate, fault_of
from dbsafety_runtime.storage.errors import Disconnected, ResourceExhausted, StorageFault

CONNECT_SECONDS: Final = 5
TCP_USER_TIMEOUT_MS: Final = 12_000
# For both ends: libpq's names, with "tcp_" before them the server's.
KEEPALIVES: Final[Mapping[str, Any]] = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
GUARD_MARGIN: Final = 3.0
JITTER: Final = random.SystemRandom()

Row = tuple[Any, ...]
Params = Sequence[object] | Mapping[str, object] | None


class Session(ext.connection):
    """A connection that remembers which statements the server has prepared for it, and when they were planned."""

    prepared: frozenset[str] = frozenset()
    planned: float = 0.0
    limit: float = 20.0
    busy_until: float = 0.0

    def rows(self, sql: str, params: Params = None) -> list[Row]:
        """Run one statement and return its rows ([] when it gives none).

        When the answer takes longer than `limit` seconds, the guard cuts the session and the driver raises.
        """
        self.busy_until = time.monotonic() + self.limit
        try:
            with self.cursor() as cur:
                cur.execute(sql, params)
                return cur.fetchall() if cur.description else []
        finally:
            self.busy_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether the session is open and outside any transaction, as far as the client knows."""
        return self.closed == 0 and self.get_transaction_status() == ext.TRANSACTION_STATUS_IDLE

    @property
    def spoken_to(self) -> bool:
        """Whether the server has said something that nobody asked for, most likely its farewell."""
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        return bool(poller.poll(0))


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect and which limits the server enforces on the session, in milliseconds."""

    dsn: str
    name: str = "dbsafety"
    statement_ms: int = 15_000
    lock_ms: int = 5_000
    idle_in_transaction_ms: int = 15_000

    def named(self, name: str) -> Target:
        """Return the same target under another application name."""
        return replace(self, name=f"dbsafety:{name}")

    def options(self) -> str:
        """Return the session's settings as libpq `options`, after those of the DSN."""
        given = ext.parse_dsn(self.dsn).get("options", "")
        limits = {
            "statement_timeout": self.statement_ms,
            "lock_timeout": self.lock_ms,
            "idle_in_transaction_session_timeout": self.idle_in_transaction_ms,
            **{f"tcp_{name}": value for name, value in KEEPALIVES.items()},
        }
        return " ".join([given, *(f"-c {name}={value}" for name, value in limits.items())]).strip()


class Guard:
    """Cuts sessions that a silent peer keeps waiting: a half-open connection whose packets are still acknowledged.

    The server's own limits and TCP's timeouts come first; this one works when no answer of the server arrives at all.
    """

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Start anew; a forked child has neither the thread nor a use for its parent's sessions."""
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, conn: Session) -> None:
        """Look after a new session."""
        with self._lock:
            self._sessions.add(conn)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            with self._lock:
                overdue = [conn for conn in self._sessions if 0 < conn.busy_until < time.monotonic()]
            for conn in overdue:
                self._cut(conn)

    def _cut(self, conn: Session) -> None:
        """Shut the session's socket down: the call that waits on it returns at once."""
        conn.busy_until = 0.0
        with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(conn.fileno())) as channel:
            channel.shutdown(socket.SHUT_RDWR)


GUARD: Final = Guard()


def classified(error: psycopg2.Error, conn: ext.connection | None) -> StorageFault:
    """Return the fault for a driver error on `conn` (None: while connecting); counts it."""
    closed = conn is None or conn.closed != 0
    fault = fault_of(classify_sqlstate(error.pgcode, closed=closed), str(error) or type(error).__name__, error.pgcode)
    metrics.STORAGE_FAULTS.labels(fault.fault.value).inc()
    return fault


def connect(target: Target) -> Session:
    """Open an autocommit session with keepalives and timeouts; raises Disconnected."""
    try:
        conn: Session = psycopg2.connect(
            target.dsn,
            connection_factory=Session,
            connect_timeout=CONNECT_SECONDS,
            application_name=target.name[:63],
            options=target.options(),
            tcp_user_timeout=TCP_USER_TIMEOUT_MS,
            **KEEPALIVES,
        )
    except psycopg2.Error as error:
        raise classified(error, None) from error
    conn.autocommit = True
    conn.limit = target.statement_ms / 1000 + GUARD_MARGIN
    GUARD.add(conn)
    return conn


@contextmanager
def side_session(target: Target) -> Iterator[Session]:
    """A short-lived session for single statements, closed at the end; driver errors come out classified."""
    with closing(connect(target)) as conn:
        try:
            yield conn
        except psycopg2.Error as error:
            raise classified(error, conn) from error


class Pool:
    """At most `size` sessions; a taker waits at most `wait` seconds; a session is clean before anyone gets it again.

    `scrub` adds DISCARD ALL on return, for sessions that foreign code has used.
    """

    def __init__(self, target: Target, size: int, *, wait: float = 5.0, scrub: bool = False) -> None:
        self.target = target
        self._size, self._wait, self._scrub = size, wait, scrub
        self._free: LifoQueue[Session | None] = LifoQueue()  # None: room for a session not opened yet
        for _ in range(size):
            self._free.put(None)

    def take(self) -> Session:
        """Return an idle session; raises ResourceExhausted after the wait limit, Disconnected when none opens."""
        try:
            conn = self._free.get(timeout=self._wait)
        except Empty:
            raise ResourceExhausted(f"no free connection within {self._wait:.1f} s (pool size {self._size})") from None
        if conn is not None and conn.idle and not conn.spoken_to:
            return conn
        if conn is not None:
            self._discard(conn)
        try:
            return connect(self.target)
        except BaseException:
            self._free.put(None)
            raise

    def give(self, conn: Session) -> None:
        """Take `conn` back: kept when clean, closed otherwise."""
        kept = False
        try:
            kept = conn.idle and self._clean(conn)
            if not kept:
                self._discard(conn)
        finally:
            self._free.put(conn if kept else None)

    def _clean(self, conn: Session) -> bool:
        if not self._scrub:
            return True
        try:
            conn.rows("DISCARD ALL")
        except psycopg2.Error:
            return False
        conn.prepared = frozenset()
        return True

    def _discard(self, conn: Session) -> None:
        metrics.DIRTY_CONNECTIONS.inc()
        conn.close()

    def close(self) -> None:
        """Close the idle sessions; those in use are closed by their users' return."""
        free: list[Session | None] = []
        with suppress(Empty):
            while True:
                free.append(self._free.get_nowait())
        for conn in free:
            if conn is not None:
                conn.close()
            self._free.put(None)


class Subscription:
    """A session that listens. Safe to collect from by several threads."""

    def __init__(self, conn: Session) -> None:
        self._conn = conn
        self._lock = threading.Lock()

    def fileno(self) -> int | None:
        """The socket that becomes readable when something arrives; None when the session is closed."""
        try:
            return self._conn.fileno()
        except psycopg2.Error:
            return None

    def collect(self) -> tuple[tuple[str, str], ...]:
        """Return (channel, payload) of what has arrived, equal ones once, without waiting; raises Disconnected."""
        with self._lock:
            try:
                self._conn.poll()
            except psycopg2.Error as error:
                raise classified(error, None) from error
            arrived = tuple(dict.fromkeys((note.channel, note.payload) for note in self._conn.notifies))
            self._conn.notifies.clear()
            return arrived


@contextmanager
def subscribe(target: Target, channels: Sequence[str]) -> Iterator[Subscription]:
    """Listen on `channels` until the end of the block."""
    with side_session(target) as conn:
        for channel in channels:
            conn.rows(f'LISTEN "{channel}"')
        yield Subscription(conn)


def wait_for_server(target: Target, seconds: float, pause: float = 0.25) -> None:
    """Return once the server accepts a session; raises Disconnected with the last reason after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with side_session(target):
                return
        except Disconnected:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(JITTER.uniform(0.5, 1.5) * pause)
        pause = min(pause * 2, 5.0)
