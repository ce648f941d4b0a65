"""Faults of the server itself: restarts, crashes, no free connection, a standby promoted; and the private server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest

from dbsafety_runtime.executor import demo
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import embedded, serve
from dbsafety_runtime.ops.embedded import EmbeddedError, EmbeddedPostgres, Identity, StopMode, running_dsn
from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.storage import migrate, uow
from dbsafety_runtime.storage.errors import Disconnected, ResourceExhausted
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    JR,
    WorkerThread,
    all_done,
    assert_invariants,
    make_queue,
    query,
    status_of,
    wait_until,
)

HANDLERS = {"noop": jobs.noop, "sleep": jobs.sleep}


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that a test may restart: commits reach the kernel, so that a crash of the server loses none."""
    with EmbeddedPostgres(synchronous_commit="on", max_connections=20) as server:
        migrate.migrate(Store(Target(server.dsn)))
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate", "crash"])
def test_14_15_the_server_restarts_under_a_worker(own_server: EmbeddedPostgres, mode: StopMode) -> None:
    dsn = own_server.dsn
    queue = make_queue(dsn)
    for number in range(20):
        queue.enqueue("sleep", {"seconds": 0.01 * number})
    with WorkerThread(dsn, HANDLERS, concurrency=2) as worker:
        wait_until(lambda: status_of(dsn, 3) == "completed")
        own_server.restart(mode)
        accepted = time.monotonic()
        urgent, _ = queue.enqueue("noop", priority=9)
        wait_until(lambda: status_of(dsn, urgent) == "completed")
        seconds = time.monotonic() - accepted
        wait_until(lambda: all_done(dsn))
        assert worker.stop() == 0
    queue.store.close()
    assert seconds < 2.0, "the bound of promise 6"
    assert_invariants(dsn, tasks=21)


def test_15_a_commit_lost_in_a_crash_is_not_taken_for_another_with_its_number() -> None:
    """The crash takes the records of an unfinished transaction along; its number is given out again and committed."""
    with EmbeddedPostgres(synchronous_commit="on", wal_writer_delay="10s") as server:
        store = Store(Target(server.dsn))
        migrate.migrate(store)
        query(server.dsn, "CREATE TABLE note (n int)")
        numbers: list[int] = []

        def crash_and_reuse() -> None:
            numbers.append(int(uow._active.tx.xid))
            server.restart("crash")
            while numbers[-1] <= numbers[0]:
                numbers.append(int(query(server.dsn, "SELECT pg_current_xact_id()::text")[0][0]))

        PLAN.add("before_commit", crash_and_reuse)
        store.run(lambda tx: tx.execute("INSERT INTO note VALUES (1)"))
        assert numbers[0] in numbers[1:], "the number was given out again"
        assert query(server.dsn, "SELECT n FROM note") == [(1,)]
        store.close()


def test_14_a_worker_ends_while_the_server_is_away(own_server: EmbeddedPostgres) -> None:
    with WorkerThread(own_server.dsn, HANDLERS) as worker:
        wait_until(lambda: worker.worker._ready)
        own_server.stop()
        assert demo._open_tasks(Store(Target(own_server.dsn))) == -1
        assert worker.stop() == 0


def test_22_a_server_without_free_connections(own_server: EmbeddedPostgres) -> None:
    """The worker keeps the sessions it has; new ones are refused with a clear reason; it goes on when there is room."""
    dsn = own_server.dsn
    query(dsn, "CREATE ROLE app LOGIN SUPERUSER")
    with WorkerThread(dsn, HANDLERS) as worker:
        wait_until(lambda: worker.worker._ready)
        idle = []
        while True:
            try:
                idle.append(psycopg2.connect(dsn, connect_timeout=5))
            except psycopg2.OperationalError:
                break
        with pytest.raises(Disconnected, match="too many clients"):
            Store(Target(dsn), tries=1).run(lambda tx: tx.execute("SELECT 1"))
        with idle[0].cursor() as cur:
            cur.execute("INSERT INTO jr_task_announcements (kind, assignee) VALUES ('noop', %s)", (JR,))
        idle[0].commit()
        for conn in idle:
            conn.close()
        wait_until(lambda: status_of(dsn, 1) == "completed")
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=1)


@pytest.mark.faults
def test_16_a_standby_is_promoted_and_the_old_primary_is_gone(tmp_path: Path) -> None:
    """Synchronous replication: what was acknowledged is on the standby; nothing is settled twice."""
    with EmbeddedPostgres(synchronous_commit="on", wal_level="replica", max_wal_senders=4) as primary:
        folder = tmp_path / "standby"
        folder.mkdir(mode=0o700)
        tool = embedded.find_bin() / "pg_basebackup"
        if not tool.exists():
            tool = Path(shutil.which("pg_basebackup") or tool)
        assert tool.exists(), "this test needs pg_basebackup"
        command = [*primary._identity.prefix, str(tool), "-D", str(folder), "-R", "-X", "stream", "-c", "fast"]
        subprocess.run([*command, "-d", primary.dsn], check=True, capture_output=True)
        with EmbeddedPostgres(folder, listen_addresses="127.0.0.1", fsync="off", hot_standby="on") as standby:
            both = (
                f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=postgres"
                " target_session_attrs=read-write"
            )
            migrate.migrate(Store(Target(primary.dsn)))
            query(primary.dsn, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            query(primary.dsn, "SELECT pg_reload_conf()")
            queue = make_queue(primary.dsn)
            for number in range(40):
                queue.enqueue("sleep", {"seconds": 0.01 * (number % 5)})
            with WorkerThread(primary.dsn, HANDLERS, target=Target(both), concurrency=2) as worker:
                wait_until(lambda: status_of(primary.dsn, 5) == "completed")
                primary.stop("crash")
                query(standby.dsn, "SELECT pg_promote()")
                query(standby.dsn, "ALTER SYSTEM RESET synchronous_standby_names")
                query(standby.dsn, "SELECT pg_reload_conf()")
                wait_until(lambda: all_done(standby.dsn))
                assert worker.stop() == 0
            assert_invariants(standby.dsn, tasks=40)


def test_17_a_hot_standby_degrades_and_claims_after_promotion(tmp_path: Path) -> None:
    """A server in recovery: signalled by a standby file without a primary."""
    folder = tmp_path / "data"
    with EmbeddedPostgres(folder, fsync="off", listen_addresses="127.0.0.1") as server:
        migrate.migrate(Store(Target(server.dsn)))
        queue = make_queue(server.dsn)
        queue.enqueue("noop")
        queue.store.close()
    (folder / "standby.signal").touch()
    with EmbeddedPostgres(folder, fsync="off", listen_addresses="127.0.0.1") as server:
        assert query(server.dsn, "SELECT pg_is_in_recovery()") == [(True,)]
        store = Store(Target(server.dsn), tries=1)
        assert migrate.check(store) == 2
        queue = TaskQueue(store, JR, uuid4())
        with pytest.raises(ResourceExhausted, match="read-only transaction"):
            queue.claim(1)
        query(server.dsn, "SELECT pg_promote()")
        assert [task.task_id for task in queue.claim(1)] == [1]
        store.close()


def test_persistent_data_keeps_fsync_and_its_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "with a space" / "data"
    with EmbeddedPostgres(folder) as server:
        assert query(server.dsn, "SHOW fsync") == [("on",)]
        assert query(server.dsn, "SHOW synchronous_commit") == [("on",)]
        assert query(server.dsn, "SHOW listen_addresses") == [("",)]
        assert running_dsn(folder) == server.dsn
        query(server.dsn, "CREATE TABLE kept AS SELECT 1 AS n")
        with pytest.raises(
            EmbeddedError, match=r"did not start in .*data: .*lock file \"postmaster.pid\" already exists"
        ):
            EmbeddedPostgres(folder)
    assert running_dsn(folder) is None
    with EmbeddedPostgres(folder) as server:
        assert query(server.dsn, "SELECT n FROM kept") == [(1,)]
        server.stop()
        with pytest.raises(EmbeddedError, match="is stopped"):
            _ = server.pid


def test_throw_away_data_is_thrown_away_and_both_sockets_work() -> None:
    with EmbeddedPostgres() as server:
        assert query(server.dsn, "SHOW fsync") == query(server.socket_dsn, "SHOW fsync") == [("off",)]
        home = server.data_dir.parent
    assert not home.exists()


def test_a_killed_owner_takes_its_server_along() -> None:
    program = """
import os, sys
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
server = EmbeddedPostgres()
print(server.pid, server.data_dir.parent, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, home = done.stdout.split()

    def gone() -> bool:
        try:
            os.kill(int(pid), 0)
        except OSError:
            return not Path(home).exists()
        return False

    wait_until(gone)


def test_stale_folders_of_dead_owners_are_swept_and_living_ones_kept(tmp_path: Path) -> None:
    stale, odd = tmp_path / "dbsafety-pg-stale", tmp_path / "dbsafety-pg-odd"
    stale.mkdir()
    odd.mkdir()
    (stale / "owner.lock").touch()
    with EmbeddedPostgres() as server:
        embedded.sweep_stale(server.data_dir.parents[1])
        assert server.data_dir.exists()
    embedded.sweep_stale(tmp_path)
    assert (stale.exists(), odd.exists()) == (False, True)


def test_binaries_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBSAFETY_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedError, match=f"DBSAFETY_PG_BIN={tmp_path} holds no initdb"):
        embedded.find_bin()
    (tmp_path / "initdb").touch(mode=0o755)
    assert embedded.find_bin() == tmp_path
    monkeypatch.delenv("DBSAFETY_PG_BIN")
    assert embedded.find_bin().name == "bin"
    monkeypatch.setattr(embedded, "PACKAGES", ("no_such_package",))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_bin() == tmp_path
    monkeypatch.setenv("PATH", "")
    debian = tmp_path / "postgresql"
    for version in ("9", "15"):
        (debian / version / "bin").mkdir(parents=True)
        (debian / version / "bin" / "initdb").touch()
    monkeypatch.setattr(embedded, "DEBIAN", debian)
    assert embedded.find_bin() == debian / "15" / "bin"
    monkeypatch.setattr(embedded, "DEBIAN", tmp_path / "nothing")
    with pytest.raises(EmbeddedError, match=r"pip install 'dbsafety\[embedded\]', or give a DSN"):
        embedded.find_bin()


def test_root_is_hidden_by_a_user_namespace_or_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert embedded.identity() == Identity()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    answers = iter([0, 1])

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, next(answers))

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    assert embedded.identity().prefix[:2] == ("unshare", "--user")
    assert embedded.identity() == Identity(user="nobody")


def test_a_failing_initdb_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "initdb"
    fake.write_text("#!/bin/sh\necho 'initdb: error: no luck' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("DBSAFETY_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"initdb failed in .*/data: initdb: error: no luck"):
        EmbeddedPostgres()


def test_serving_without_a_server_is_one_sentence_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DBSAFETY_PG_BIN", str(tmp_path))
    assert serve.main() == 2
    assert capsys.readouterr().err == f"DBSAFETY_PG_BIN={tmp_path} holds no initdb\n"


def test_a_server_that_hangs_on_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)
    server = EmbeddedPostgres()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
