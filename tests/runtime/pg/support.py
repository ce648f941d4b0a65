"""What the tests on a real PostgreSQL share: invariants, workers in threads and processes, a proxy that misbehaves."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg2

from dbsafety_runtime.executor.handlers import Handler
from dbsafety_runtime.executor.invariants import violations
from dbsafety_runtime.executor.model import Policy, WorkerOptions
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.executor.worker import Worker
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store

ROOT = Path(__file__).parents[3]
TUNED = Policy(lease=2.0, heartbeat=0.2, poll=0.2, backoff=0.05, max_lost=3)
PATIENCE = 30.0
JR = "Infrastructure Jr."


def wait_until(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> float:
    """Wait for a condition and return the seconds it took; fails after `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


def query(dsn: str, sql: str, *params: object) -> list[Any]:
    """Run one statement on a session of its own, outside the runtime."""
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute(sql, params or None)
            return cur.fetchall() if cur.description else []


def status_of(dsn: str, task_id: int) -> str:
    return str(query(dsn, "SELECT status FROM jr_task_announcements WHERE task_id = %s", task_id)[0][0])


def events(dsn: str, task_id: int) -> list[str]:
    return [row[0] for row in query(dsn, "SELECT event FROM task_history WHERE task_id = %s ORDER BY id", task_id)]


def all_done(dsn: str) -> bool:
    sql = "SELECT count(*) FROM jr_task_announcements WHERE status IN ('assigned', 'in_progress')"
    return query(dsn, sql)[0][0] == 0


def end_sessions(dsn: str, pattern: str = "dbsafety:%:%") -> int:
    sql = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE %s AND pid <> pg_backend_pid()"""
    return int(query(dsn, sql, pattern)[0][0])


def assert_invariants(dsn: str, tasks: int | None = None) -> None:
    """I1, I2, I3, I5, I7 by queries, I4 by an operation that must succeed."""
    store = Store(Target(dsn))
    try:
        found = violations(store, tasks=tasks)
        assert not any(found.values()), found
        with store.write() as tx:
            assert tx.execute("SELECT 1") == [(1,)]
    finally:
        store.close()


def make_queue(dsn: str, assignee: str = JR, policy: Policy = TUNED, **target: Any) -> TaskQueue:
    return TaskQueue(Store(Target(dsn, **target)), assignee, uuid4(), policy)


class WorkerThread:
    """A worker in a thread of the test's process."""

    def __init__(self, dsn: str, handlers: Mapping[str, Handler], **options: Any) -> None:
        target = options.pop("target", Target(dsn))
        values = asdict(options.pop("policy", TUNED)) | {"assignee": JR, "grace": 5.0} | options
        self.worker = Worker(target, WorkerOptions(**values), handlers)
        self.code: int | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.code = self.worker.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> WorkerThread:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.worker.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the worker did not stop"

    def stop(self) -> int:
        """Drain and return the exit code; raises what the worker raised."""
        self.__exit__()
        if self.error is not None:
            raise self.error
        assert self.code is not None
        return self.code


@contextmanager
def worker_process(dsn: str, *, fault: str = "", arguments: tuple[str, ...] = (), **settings: object) -> Iterator[Any]:
    """A worker as the command line starts it, with tuned times; killed at the end of the block."""
    tuned = {"lease": 2.0, "heartbeat": 0.2, "poll": 0.2, "backoff": 0.05, "assignee": JR, "log_level": "info"}
    environment = os.environ | {f"DBSAFETY_EXECUTOR_{k}".upper(): str(v) for k, v in (tuned | settings).items()}
    environment |= {"DBSAFETY_EXECUTOR_DSN": dsn, "DBSAFETY_FAULT": fault, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dbsafety_runtime", "executor", "run", "--handlers", "tests.runtime.pg.jobs"]
    process = subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


class Proxy:
    """A TCP relay to the server that can misbehave for the sessions of an application name.

    Modes: `pass`; `hole`: packets vanish both ways, the connection stays open; `swallow_commit`: COMMIT reaches the
    server, its answer never comes back, then the connection is cut; `swallow_claim`: the same with a claim;
    `lose_commit`: COMMIT never reaches the server; `half`: only the client sees the connection end, at its next COMMIT.
    """

    COMMIT: Final = b"COMMIT\0"
    MARKS: Final = {"swallow_commit": COMMIT, "swallow_claim": b"EXECUTE claim", "lose_commit": COMMIT, "half": COMMIT}

    def __init__(self, dsn: str) -> None:
        parts = dict(part.split("=", 1) for part in dsn.split())
        self._server = (parts["host"], int(parts["port"]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        parts |= {"port": str(self._listener.getsockname()[1]), "sslmode": "disable", "gssencmode": "disable"}
        self.dsn = " ".join(f"{name}={value}" for name, value in parts.items())
        self.modes: dict[str, str] = {}
        self.closed = False
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            hello = client.recv(65536)
            name = hello.split(b"application_name\0", 1)[1].split(b"\0", 1)[0].decode()
            server.sendall(hello)
            born = tuple(self.modes)  # sessions opened after a hole was dug pass
            swallow = False
            while not self.closed:
                for source in select.select([client, server], [], [], 0.05)[0]:
                    try:
                        data = source.recv(65536)
                    except OSError:
                        data = b""
                    mode = next((m for n, m in self.modes.items() if n in name and n not in born), "pass")
                    if not data:
                        return
                    if mode == "hole":
                        continue
                    marked = source is client and mode in self.MARKS and self.MARKS[mode] in data
                    if marked and mode == "half":
                        client.close()
                        self.ended.wait(PATIENCE)
                    if marked and mode in ("lose_commit", "half"):
                        return
                    swallow = swallow or marked
                    if source is server and swallow:
                        return
                    (server if source is client else client).sendall(data)

    def close(self) -> None:
        self.closed = True
        self.ended.set()
        self._listener.close()
