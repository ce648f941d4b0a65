"""Faults of the host under the server, real ones: a full disk, and a clock that jumps."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest

from dbsafety_runtime.executor import worker as worker_module
from dbsafety_runtime.executor.handlers import Context
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import embedded
from dbsafety_runtime.ops.embedded import EmbeddedPostgres, Identity
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import ResourceExhausted
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    JR,
    WorkerThread,
    all_done,
    assert_invariants,
    events,
    make_queue,
    query,
    status_of,
    wait_until,
)

TABLES = ("jr_task_announcements", "task_history")
NOOP = {"noop": jobs.noop}


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server whose task tables lie on a disk of 2 MB: memory mounted in a name space of the server's own."""
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o777)
    mount = f"mount -t tmpfs -o size=2m,mode=0777 none {shlex.quote(str(disk))}"
    inner = 'exec unshare --user --map-user=1000 --map-group=1000 "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {inner}", "server")
    monkeypatch.setattr(embedded, "identity", lambda: Identity(prefix))
    with EmbeddedPostgres(max_connections=30) as server:
        store = Store(Target(server.dsn))
        migrate.migrate(store)
        store.close()
        query(server.dsn, f"CREATE TABLESPACE small LOCATION '{disk}'")
        for table in TABLES:
            query(server.dsn, f"ALTER TABLE {table} SET TABLESPACE small")
            query(server.dsn, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        query(server.dsn, "CREATE TABLE ballast (filling text) TABLESPACE small")
        query(server.dsn, "ALTER TABLE ballast ALTER filling SET STORAGE PLAIN")
        yield server.dsn


def fill(dsn: str) -> None:
    """Write until the disk is full, to the last page of the history."""
    filler = "INSERT INTO task_history (task_id, attempt, event) SELECT 0, 0, 'filler' FROM generate_series(1, %s)"
    with closing(psycopg2.connect(dsn)) as conn, conn.cursor() as cur:
        conn.autocommit = True
        for statement, size in (("INSERT INTO ballast SELECT repeat('x', 7000) FROM generate_series(1, %s)", 9),
                                (filler, 50), (filler, 1)):  # fmt: skip
            with suppress(psycopg2.errors.DiskFull):
                while True:
                    cur.execute(statement, (size,))


def test_23_a_disk_that_is_really_full(small_disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for history: nothing is claimed, the outcome waits, and all goes on once there is room again."""
    monkeypatch.setattr(worker_module, "SLOW_PAUSE", 0.2)
    gate = threading.Event()

    def wait(_context: Context) -> None:
        gate.wait(20)

    queue = make_queue(small_disk)
    queue.enqueue("wait")
    with WorkerThread(small_disk, NOOP | {"wait": wait}) as worker:
        wait_until(lambda: status_of(small_disk, 1) == "in_progress")
        fill(small_disk)
        acknowledged = 1
        with suppress(ResourceExhausted):  # what still finds room on the last pages is acknowledged
            while acknowledged < 500:
                queue.enqueue("noop", {"text": "x" * 1000})
                acknowledged += 1
        assert acknowledged < 500
        gate.set()
        wait_until(lambda: worker.worker._pause, "degraded")
        assert status_of(small_disk, 1) == "in_progress"
        query(small_disk, "DROP TABLE ballast")
        wait_until(lambda: all_done(small_disk), "resumed")
        assert worker.stop() == 0
    queue.store.close()
    assert events(small_disk, 1) == ["claimed", "completed"]
    assert_invariants(small_disk, tasks=acknowledged)


@pytest.fixture
def turn_clock(empty_dsn: str) -> Callable[[int], None]:
    """A database whose clock can be turned: its functions of time stand before those of the server.

    Schema and statements, defaults included, are made under them, so whatever reads the clock reads the turned one.
    """
    query(empty_dsn, "CREATE TABLE turned (by interval NOT NULL)")
    query(empty_dsn, "INSERT INTO turned VALUES ('0')")
    for name in ("clock_timestamp", "statement_timestamp", "now"):
        query(
            empty_dsn,
            f"""CREATE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql VOLATILE
                AS 'SELECT pg_catalog.{name}() + by FROM public.turned'""",
        )
    database = empty_dsn.rpartition("=")[2]
    query(empty_dsn, f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    store = Store(Target(empty_dsn))
    migrate.migrate(store)
    store.close()

    def turn(hours: int) -> None:
        query(empty_dsn, "UPDATE turned SET by = make_interval(hours => %s)", hours)

    return turn


@pytest.mark.parametrize("hours", [1, -1])
def test_32_the_servers_clock_jumps_under_a_worker(
    empty_dsn: str, turn_clock: Callable[[int], None], hours: int
) -> None:
    """Forward, every lease seems to have ended: a rescuer takes the task, the fence decides. Back, nothing is early."""
    released = threading.Event()

    def wait(_context: Context) -> None:
        released.wait(20)

    queue: TaskQueue = make_queue(empty_dsn)
    with WorkerThread(empty_dsn, NOOP | {"wait": wait}, concurrency=3) as worker:
        queue.enqueue("wait")
        wait_until(lambda: status_of(empty_dsn, 1) == "in_progress")
        turn_clock(hours)
        rescued = queue.rescue()
        (later, _) = queue.enqueue("noop")
        wait_until(lambda: status_of(empty_dsn, later) == "completed")
        released.set()
        wait_until(lambda: status_of(empty_dsn, 1) == "completed")
        assert worker.stop() == 0
    queue.store.close()
    undisturbed, rerun = ["claimed", "completed"], ["claimed", "rescued", "claimed", "completed"]
    # Forward, a heartbeat may have renewed the lease before anyone saw that it had ended.
    assert events(empty_dsn, 1) in ([undisturbed] if hours < 0 else [rerun] if rescued else [undisturbed, rerun])
    assert_invariants(empty_dsn, tasks=2)


@pytest.mark.parametrize("hours", [1, -1])
def test_32_a_dead_workers_task_is_rescued_after_the_clock_jumped(
    empty_dsn: str, turn_clock: Callable[[int], None], hours: int
) -> None:
    """The lease of a worker without a session seems an hour away after a jump back; its missing heartbeats tell."""
    dead = make_queue(empty_dsn)
    dead.enqueue("noop")
    assert len(dead.claim(1)) == 1
    dead.store.close()
    turn_clock(hours)
    with WorkerThread(empty_dsn, NOOP) as worker:
        wait_until(lambda: worker.worker._ready)
        turn_clock(hours + 2)  # the clock is put right, or jumps on
        wait_until(lambda: status_of(empty_dsn, 1) == "completed", "rescued")
        assert worker.stop() == 0
    assert events(empty_dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    assert query(empty_dsn, "SELECT assignee FROM jr_task_announcements") == [(JR,)]
    assert_invariants(empty_dsn, tasks=1)
