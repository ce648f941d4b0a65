"""Two workers, one task, and a kill at every statement and commit boundary: nothing lost, nothing settled twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from dbsafety_runtime.executor.pulse import Pulse
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.executor.statements import EFFECT, LEAVE
from dbsafety_runtime.ops.faults import ACTIONS, PLAN
from dbsafety_runtime.storage.pg import Target
from dbsafety_runtime.storage.uow import Store
from tests.runtime.pg.support import JR, TUNED, assert_invariants, query

POINTS = ("before_statement", "after_statement", "before_commit", "after_commit")
EXPIRE = "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s' WHERE status = 'in_progress'"


def one_worker(dsn: str) -> None:
    """All that a worker does for one task: rescue, claim, effect, settle with the next claim."""
    queue = TaskQueue(Store(Target(dsn)), JR, uuid4(), TUNED)
    pulse = Pulse(queue, held=dict, on_beat=print, main_advanced=lambda: 0.0, stall=60.0)
    pulse.register()
    queue.rescue()
    tasks = queue.claim(1) or queue.claim(1, solo=True)
    pulse.beat()
    for task in tasks:
        with queue.store.write() as tx:
            if tx.execute(EFFECT, (task.task_id, "mark", None)):
                tx.execute("INSERT INTO thermal_memory (body) VALUES ('effect')")
        queue.complete_task(task, "done")
    queue.record_fara_mistake("s", "k", {})
    queue.store.run(lambda tx: tx.execute(LEAVE, {"owner": str(queue.owner)}))


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def boundaries(dsn: str) -> Iterator[tuple[str, int]]:
    """Every point and pass that one worker goes through."""
    read, write = os.pipe()

    def count() -> None:
        PLAN.add("never", lambda: None)
        one_worker(dsn)
        os.write(write, repr([(p, PLAN._passes.get(p, 0)) for p in POINTS]).encode())

    assert in_child(count) == 0
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    for point, passes in eval(text):
        yield from ((point, number) for number in range(1, passes + 1))


def killed_at(dsn: str, point: str, number: int) -> int:
    def work() -> None:
        PLAN.add(point, ACTIONS["kill"], number)
        one_worker(dsn)

    return in_child(work)


def finish(dsn: str) -> None:
    """The rest of the fleet: leases end, living workers come by."""
    for _ in range(2):
        query(dsn, EXPIRE)
        assert in_child(lambda: one_worker(dsn)) == 0
    assert query(dsn, "SELECT status FROM jr_task_announcements") == [("completed",)]
    assert query(dsn, "SELECT count(*) FROM thermal_memory") == [(1,)], "the effect happened once"


def test_a_kill_at_every_fourth_boundary(dsn: str) -> None:
    kill_at_boundaries(dsn, second_dies_too=False, step=4)


@pytest.mark.faults
@pytest.mark.parametrize("second_dies_too", [False, True])
def test_a_kill_at_every_boundary(dsn: str, second_dies_too: bool) -> None:
    kill_at_boundaries(dsn, second_dies_too=second_dies_too, step=1)


def kill_at_boundaries(dsn: str, *, second_dies_too: bool, step: int) -> None:
    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) VALUES ('x', %s)", JR)
    points = list(boundaries(dsn))
    assert len(points) >= 40
    for point, number in points[::step]:
        query(dsn, "TRUNCATE jr_task_announcements, thermal_memory, task_effect RESTART IDENTITY")
        query(dsn, "ALTER TABLE task_history DISABLE TRIGGER append_only")
        query(dsn, "TRUNCATE task_history")
        query(dsn, "ALTER TABLE task_history ENABLE TRIGGER append_only")
        query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) VALUES ('x', %s)", JR)
        assert killed_at(dsn, point, number) == -signal.SIGKILL, (point, number)
        if second_dies_too:
            query(dsn, EXPIRE)
            assert killed_at(dsn, point, number) in (-signal.SIGKILL, 0), (point, number)
        finish(dsn)
        assert_invariants(dsn, tasks=1)
