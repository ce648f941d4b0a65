"""Random programs of operations and faults on the queue, compared with a small model after every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from dbsafety_runtime.executor import queue as queues
from dbsafety_runtime.executor.model import Outcome, Task
from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.storage import uow
from dbsafety_runtime.storage.errors import StorageFault
from tests.runtime.pg.support import TUNED, assert_invariants, make_queue, query

PATIENT = replace(TUNED, lease=3600.0)  # leases end when the program says so, however slow the machine is
WORKERS = st.integers(0, 1)
VERDICTS = st.sampled_from(["completed", "failed", "retry", "handback", "interrupted"])


@dataclass
class Known:
    """What the model knows of a task."""

    status: str = "assigned"
    attempt: int = 0
    failures: int = 0
    lost: int = 0
    owner: int | None = None
    key: str | None = None
    seen: list[tuple[int, Task]] = field(default_factory=list)


class QueueMachine(RuleBasedStateMachine):
    """Two workers on one queue; the model predicts every status, attempt and refusal."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        query(self.dsn, "ALTER TABLE task_history DISABLE TRIGGER append_only")
        query(self.dsn, "TRUNCATE jr_task_announcements, task_history RESTART IDENTITY")
        query(self.dsn, "ALTER TABLE task_history ENABLE TRIGGER append_only")
        self.queues = [make_queue(self.dsn, policy=PATIENT) for _ in range(2)]
        self.tasks: dict[int, Known] = {}

    def teardown(self) -> None:
        for queue in self.queues:
            queue.store.close()

    @contextmanager
    def maybe_cut(self, cut: bool) -> Iterator[None]:
        """The session is lost just before the next commit: the unit of work must run again, unseen."""
        if cut:
            PLAN.add("before_commit", lambda: query(self.dsn, KILL, uow._active.tx.backend))
        try:
            yield
        finally:
            PLAN.clear()

    @rule(key=st.sampled_from([None, "k"]), worker=WORKERS, cut=st.booleans())
    def enqueue(self, key: str | None, worker: int, cut: bool) -> None:
        holder = [n for n, task in self.tasks.items() if key and task.key == key and task.status in OPEN]
        with self.maybe_cut(cut):
            task_id, new = self.queues[worker].enqueue("x", dedupe=key, max_attempts=2)
        assert new is not bool(holder)
        if new:
            assert task_id not in self.tasks
            self.tasks[task_id] = Known(key=key)
        else:
            assert [task_id] == holder

    @rule(worker=WORKERS, n=st.integers(1, 3), solo=st.booleans(), cut=st.booleans())
    def claim(self, worker: int, n: int, solo: bool, cut: bool) -> None:
        suspects = TUNED.max_lost - 1
        ready = {i for i, t in self.tasks.items() if t.status == "assigned" and (t.lost >= suspects) is solo}
        with self.maybe_cut(cut):
            claimed = self.queues[worker].claim(n, solo=solo)
        assert {task.task_id for task in claimed} <= ready
        assert len(claimed) == min(n, len(ready))
        for task in claimed:
            known = self.tasks[task.task_id]
            known.status, known.attempt, known.owner = "in_progress", known.attempt + 1, worker
            known.seen.append((worker, task))
            assert task.attempt == known.attempt

    @rule(data=st.data(), verdict=VERDICTS, cut=st.booleans())
    def settle(self, data: st.DataObject, verdict: str, cut: bool) -> None:
        """Any attempt ever seen, the stale ones included, by the worker that had it."""
        seen = [entry for known in self.tasks.values() for entry in known.seen]
        if not seen:
            return
        worker, task = data.draw(st.sampled_from(seen))
        known = self.tasks[task.task_id]
        valid = known.status == "in_progress" and (known.owner, known.attempt) == (worker, task.attempt)
        with self.maybe_cut(cut):
            turn = self.queues[worker].settle((Outcome(task, verdict, {"class": "E", "message": "m"}),))  # type: ignore[arg-type]
        assert bool(turn.refused) is not valid
        if valid:
            known.failures += verdict in ("retry", "failed")
            again = verdict in ("handback", "interrupted") or (verdict == "retry" and known.failures < 2)
            known.status = "assigned" if again else "completed" if verdict == "completed" else "failed"
            known.owner = None
            assert turn.settled == {task.task_id: known.status}
            query(self.dsn, "UPDATE jr_task_announcements SET run_at = now() WHERE status = 'assigned'")

    @rule(worker=WORKERS, data=st.data())
    def expire_and_rescue(self, worker: int, data: st.DataObject) -> None:
        running = sorted(i for i, t in self.tasks.items() if t.status == "in_progress")
        chosen = data.draw(st.lists(st.sampled_from(running), unique=True)) if running else []
        query(
            self.dsn,
            "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s' WHERE task_id = ANY (%s::bigint[])",
            chosen,
        )
        expected = {}
        for task_id in chosen:
            known = self.tasks[task_id]
            known.lost += 1
            known.owner = None
            known.status = expected[task_id] = "dead" if known.lost >= TUNED.max_lost else "assigned"
        assert dict(self.queues[worker].rescue()) == expected

    @rule(event=st.sampled_from(["cancelled", "redriven", "forced"]), data=st.data())
    def operate(self, event: str, data: st.DataObject) -> None:
        if not self.tasks:
            return
        task_id = data.draw(st.sampled_from(sorted(self.tasks)))
        known = self.tasks[task_id]
        sources = {"cancelled": ("assigned",), "redriven": ("failed", "dead"), "forced": ("in_progress",)}[event]
        blocked = event == "redriven" and any(
            t.key == known.key and t.status in OPEN for t in self.tasks.values() if known.key
        )
        applies = known.status in sources and not blocked
        assert queues.move(self.queues[0].store, [task_id], event=event) == ((task_id,) if applies else ())
        if applies:
            known.status, known.owner = ("cancelled" if event == "cancelled" else "assigned"), None
            if event == "redriven":
                known.failures = known.lost = 0

    @rule(worker=WORKERS)
    def a_statement_fails(self, worker: int) -> None:
        with pytest.raises(StorageFault), self.queues[worker].store.write() as tx:
            tx.execute("SELECT 1/0")

    @invariant()
    def database_equals_model(self) -> None:
        rows = query(self.dsn, "SELECT task_id, status, attempt, failures, lost_leases FROM jr_task_announcements")
        assert {row[0]: tuple(row[1:]) for row in rows} == {
            task_id: (t.status, t.attempt, t.failures, t.lost) for task_id, t in self.tasks.items()
        }
        assert_invariants(self.dsn, tasks=len(self.tasks))


OPEN = ("assigned", "in_progress")
KILL = "SELECT pg_terminate_backend(%s)"
COMMON = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)


def test_short_programs(dsn: str) -> None:
    QueueMachine.dsn = dsn
    run_state_machine_as_test(QueueMachine, settings=settings(COMMON, max_examples=8, stateful_step_count=20))


@pytest.mark.faults
def test_long_programs(dsn: str) -> None:
    QueueMachine.dsn = dsn
    long = settings(COMMON, max_examples=60, stateful_step_count=50, derandomize=False)
    run_state_machine_as_test(QueueMachine, settings=long)
