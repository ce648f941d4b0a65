"""The demonstration: tasks on a private server, workers killed meanwhile, then the invariants, proven or not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from dbsafety_runtime.executor import queue
from dbsafety_runtime.executor.handlers import Context, handler
from dbsafety_runtime.executor.invariants import NAMES, violations
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.pg import Target, side_session
from dbsafety_runtime.storage.uow import Store, Transaction

ASSIGNEE: Final = "Infrastructure Jr."
WORKERS: Final = 3
LIMIT_SECONDS: Final = 110.0
RECOVERY_SECONDS: Final = 10.0
EFFECTS: Final = "CREATE TABLE demo_effect (task_id bigint NOT NULL)"
EFFECT: Final = "INSERT INTO demo_effect VALUES (%s)"
DOUBLE: Final = "SELECT count(*) - count(DISTINCT task_id), count(*) FROM demo_effect"
OPEN: Final = (
    "SELECT count(*) FILTER (WHERE status IN ('assigned', 'in_progress')), count(*) FROM jr_task_announcements"
)
COUNTS: Final = "SELECT status, count(*), sum(attempt) FROM jr_task_announcements GROUP BY 1 ORDER BY 1"
END_SESSIONS: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name LIKE 'dbsafety:%:%' AND pid <> pg_backend_pid()
"""
TUNED: Final = {"LEASE": "3", "HEARTBEAT": "0.5", "POLL": "0.5", "MAX_LOST": "50", "BATCH": "5", "CONCURRENCY": "2"}

Say = Callable[[str], object]


@handler("demo")
def effect_and_completion(context: Context) -> None:
    """Write the effect and complete the task in one commit: exactly once, whatever happens."""
    time.sleep(context.task.payload["seconds"])
    context.checkpoint()
    with context.write() as tx:
        tx.execute(EFFECT, (context.task.task_id,))
        context.complete(tx, {"done": True})


class Fleet:
    """Worker processes of this program; a killed one is replaced."""

    def __init__(self, dsn: str) -> None:
        self._environment = os.environ | {f"DBSAFETY_EXECUTOR_{name}": value for name, value in TUNED.items()}
        self._environment |= {"DBSAFETY_EXECUTOR_DSN": dsn, "DBSAFETY_EXECUTOR_LOG_LEVEL": "error"}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    def fill(self) -> None:
        """Start workers until there are as many as wanted."""
        self._processes = [process for process in self._processes if process.poll() is None]
        command = [sys.executable, "-m", "dbsafety_runtime", "executor", "run", "--assignee", ASSIGNEE]
        while len(self._processes) < WORKERS:
            self._processes.append(
                subprocess.Popen([*command, "--handlers", __name__], env=self._environment, stderr=subprocess.DEVNULL)
            )

    def kill_one(self, dice: random.Random) -> None:
        """SIGKILL one worker."""
        victim = dice.choice(self._processes)
        victim.kill()
        victim.wait()
        self.killed += 1
        self.fill()

    def close(self) -> list[int]:
        """SIGTERM all and return their exit codes."""
        for process in self._processes:
            process.terminate()
        return [process.wait(40) for process in self._processes]


def run(*, tasks: int, faults: bool, seed: int, say: Say) -> int:
    """Run the demonstration and return 0 when every invariant holds, else 1."""
    started = time.monotonic()
    with EmbeddedPostgres(synchronous_commit="on") as server:
        target = Target(server.dsn)
        store = Store(target.named("demo"))
        migrate.migrate(store)
        store.run(lambda tx: _fill(tx, tasks, 0.08 if faults else 0.02))
        say(f"{tasks} tasks for {WORKERS} workers on a private PostgreSQL (process {server.pid})")
        with closing(Fleet(server.dsn)) as fleet:
            fleet.fill()
            finished, slowest = _watch(store, server, fleet, random.Random(seed), faults=faults, say=say)  # noqa: S311
            codes = fleet.close()
        say(f"workers killed: {fleet.killed}; exit codes of the rest on SIGTERM: {codes}")
        failed = _prove(store, tasks, finished=finished, slowest=slowest, say=say)
        say(f"{'NOT proven: ' + ', '.join(failed) if failed else 'all proven'}, {time.monotonic() - started:.0f} s")
        store.close()
    return 1 if failed else 0


def _fill(tx: Transaction, tasks: int, seconds: float) -> None:
    tx.execute(EFFECTS)
    for number in range(tasks):
        queue.enqueue(tx, "demo", {"seconds": seconds}, assignee=ASSIGNEE, priority=number % 3)


def _watch(
    store: Store, server: EmbeddedPostgres, fleet: Fleet, dice: random.Random, *, faults: bool, say: Say
) -> tuple[bool, float]:
    """Inject faults until nothing is open; return whether that came in time, and the slowest recovery in seconds."""
    deadline = time.monotonic() + LIMIT_SECONDS
    last_open, moved, slowest = -1, time.monotonic(), 0.0
    next_fault = moved + 1.5
    while time.monotonic() < deadline:
        left = _open_tasks(store)
        now = time.monotonic()
        if left != last_open:
            slowest = max(slowest, now - moved)
            last_open, moved = left, now
        if left == 0:
            return True, slowest
        if faults and now > next_fault:
            say(f"{left:5d} open: {_inject(store.target, server, fleet, dice)}")
            next_fault = time.monotonic() + dice.uniform(0.5, 1.5)
        time.sleep(0.05)
    return False, slowest


def _open_tasks(store: Store) -> int:
    try:
        with store.read() as tx:
            return int(tx.execute(OPEN)[0][0])
    except StorageFault:
        return -1


def _inject(target: Target, server: EmbeddedPostgres, fleet: Fleet, dice: random.Random) -> str:
    choice = dice.choices(("kill", "sessions", "fast", "crash"), (5, 3, 1, 1))[0]
    if choice == "kill":
        fleet.kill_one(dice)
        return "one worker killed with SIGKILL"
    if choice == "sessions":
        with side_session(target.named("faults")) as conn, conn.cursor() as cur:
            cur.execute(END_SESSIONS)
            return f"{(cur.fetchone() or (0,))[0]} sessions of the workers ended by the server"
    server.restart("fast" if choice == "fast" else "crash")
    return "server restarted" if choice == "fast" else "server killed with SIGKILL and started again"


def _prove(store: Store, tasks: int, *, finished: bool, slowest: float, say: Say) -> list[str]:
    """Print every invariant with its verdict and return the names of those that do not hold."""
    found = violations(store, tasks=tasks)
    found["I4"] = [] if finished else ["tasks were still open at the end of the time"]
    found["I6"] = [] if slowest <= RECOVERY_SECONDS else [f"{slowest:.1f} s without progress"]
    with store.read() as tx:
        double, effects = tx.execute(DOUBLE)[0]
        for status, count, attempts in tx.execute(COUNTS):
            say(f"{status}: {count} tasks in {attempts} attempts")
    if double or effects != tasks:
        found["I2"].append(f"{effects} effects for {tasks} tasks, {double} of them double")
    for name, text in NAMES.items():
        say(f"{name} {'holds' if not found[name] else 'BROKEN'}: {text}{'; '.join(['', *found[name][:3]])}")
    say(f"slowest recovery {slowest:.1f} s (bound {RECOVERY_SECONDS:.0f} s); effects {effects}, double {double}")
    return [name for name in NAMES if found[name]]
