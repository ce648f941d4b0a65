"""Random faults for a while: nothing lost, nothing settled twice; and how long recovery takes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from dbsafety_runtime.executor.model import Policy
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    TUNED,
    WorkerThread,
    all_done,
    assert_invariants,
    end_sessions,
    make_queue,
    query,
    status_of,
    wait_until,
    worker_process,
)

HANDLERS = {"effect": jobs.effect, "noop": jobs.noop, "sleep": jobs.sleep}
DEFAULTS = Policy()


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(synchronous_commit="on") as server:
        migrate.migrate(Store(Target(server.dsn)))
        yield server


def soak(server: EmbeddedPostgres, seconds: float, seed: int) -> None:
    """Enqueue all the time, with random faults; afterwards every acknowledged task is completed, each effect once."""
    dice = random.Random(seed)
    queue = make_queue(server.dsn)
    acknowledged = 0
    deadline = time.monotonic() + seconds
    settings = {"concurrency": 2, "batch": 5, "max_lost": 1000}
    processes = [worker_process(server.dsn, **settings) for _ in range(2)]
    living = [process.__enter__() for process in processes]
    while time.monotonic() < deadline:
        for _ in range(dice.randint(1, 40)):
            try:
                queue.enqueue("effect", dedupe=f"key {acknowledged}")
                acknowledged += 1
            except StorageFault:
                pass
        fault = dice.choice(["kill", "kill", "stop", "sessions", "fast", "crash", "none"])
        victim = dice.randrange(2)
        if fault == "kill":
            processes[victim].__exit__(None, None, None)
            processes[victim] = worker_process(server.dsn, **settings)
            living[victim] = processes[victim].__enter__()
        elif fault == "stop":
            os.kill(living[victim].pid, signal.SIGSTOP)
            wait_until(lambda: queue.rescue() or True)
            os.kill(living[victim].pid, signal.SIGCONT)
        elif fault == "sessions":
            end_sessions(server.dsn)
        elif fault in ("fast", "crash"):
            server.restart("fast" if fault == "fast" else "crash")
        time.sleep(dice.uniform(0.05, 0.5))
    wait_until(lambda: all_done(server.dsn), "drained", 60)
    for process in processes:
        process.__exit__(None, None, None)
    queue.store.close()
    rows = query(server.dsn, "SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM jr_task_announcements")
    assert rows[0][0] == rows[0][1] >= acknowledged
    assert query(server.dsn, "SELECT count(*) FROM thermal_memory") == [(rows[0][0],)], "each effect once"
    assert_invariants(server.dsn, tasks=rows[0][0])
    print(f"{rows[0][0]} tasks, {acknowledged} acknowledged, 0 lost, 0 settled twice")


@pytest.mark.faults
def test_random_faults_lose_nothing_and_settle_nothing_twice(own_server: EmbeddedPostgres) -> None:
    soak(own_server, 30.0, seed=7)


@pytest.mark.soak
def test_ten_minutes_of_random_faults(own_server: EmbeddedPostgres) -> None:
    soak(own_server, 600.0, seed=int(time.time()))


@pytest.mark.faults
@pytest.mark.parametrize(
    ("policy", "bound"), [pytest.param(TUNED, 3.0, id="tuned"), pytest.param(DEFAULTS, 15.0, id="default")]
)
def test_recovery_times(dsn: str, queue: TaskQueue, policy: Policy, bound: float) -> None:
    """kill -9 to the next start of the task; the peer is a worker that was there before."""
    seconds = []
    with worker_process(dsn, lease=policy.lease, heartbeat=policy.heartbeat, poll=policy.poll) as victim:
        queue.enqueue("sleep", {"seconds": 60})
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        with WorkerThread(dsn, {"sleep": jobs.noop}, policy=policy):
            wait_until(lambda: query(dsn, "SELECT count(*) FROM worker WHERE seen_at > started_at")[0][0] == 2)
            victim.kill()
            victim.wait()
            seconds.append(wait_until(lambda: status_of(dsn, 1) == "completed", seconds=60))
    print(f"kill -9 to completed by another: {seconds[0]:.2f} s (bound {bound} s)")
    assert seconds[0] <= bound
    assert_invariants(dsn, tasks=1)


@pytest.mark.faults
def test_pick_up_after_lost_sessions_and_restart(own_server: EmbeddedPostgres) -> None:
    """From the moment the server accepts, with default times."""
    dsn = own_server.dsn
    queue = make_queue(dsn)
    with WorkerThread(dsn, HANDLERS, policy=DEFAULTS) as worker:
        wait_until(lambda: worker.worker._ready)
        for number in range(6):
            if number % 2:
                own_server.restart("fast")
            else:
                end_sessions(dsn)
            task_id, _ = queue.enqueue("noop")
            seconds = wait_until(lambda task_id=task_id: status_of(dsn, task_id) == "completed")
            print(f"{'restart' if number % 2 else 'sessions ended'}: next pick-up {seconds:.2f} s")
            assert seconds <= 1.0
    queue.store.close()
    assert_invariants(dsn)
