"""The queue on a real server: claim, settle, fence, rescue, and the incident's eight methods."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import product
from uuid import uuid4

import psycopg2
import pytest

from dbsafety_runtime.executor import queue as queues
from dbsafety_runtime.executor.model import Outcome, Policy, Task
from dbsafety_runtime.executor.pulse import Pulse
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.storage import uow
from dbsafety_runtime.storage.errors import LostLease, Rejected, StorageFault
from tests.runtime.pg.support import JR, Proxy, assert_invariants, events, make_queue, query, status_of

Another = Callable[[], TaskQueue]
STATUSES = ("assigned", "in_progress", "completed", "failed", "dead", "cancelled")
LEGAL = {
    ("assigned", "in_progress"), ("assigned", "cancelled"), ("in_progress", "completed"), ("in_progress", "failed"),
    ("in_progress", "dead"), ("in_progress", "assigned"), ("failed", "assigned"), ("dead", "assigned"),
}  # fmt: skip


def test_peeking_claims_nothing_and_orders_by_priority_then_age(queue: TaskQueue, dsn: str) -> None:
    for priority in (0, 5, 0):
        queue.enqueue("x", priority=priority)
    queue.enqueue("x", at=datetime.now(timezone.utc) + timedelta(hours=1))
    make_queue(dsn, "somebody else").enqueue("x")
    assert [task.task_id for task in queue.get_assigned_tasks()] == [2, 1, 3]
    assert [task.task_id for task in queue.claim(10)] == [2, 1, 3]
    assert queue.get_assigned_tasks() == ()
    assert_invariants(dsn, tasks=5)


def test_two_executors_never_get_the_same_task(dsn: str) -> None:
    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) SELECT 'x', %s FROM generate_series(1, 1000)", JR)
    taken: list[list[int]] = [[], []]

    def drain(mine: list[int]) -> None:
        worker = make_queue(dsn)
        while tasks := worker.claim(7):
            mine.extend(task.task_id for task in tasks)
        worker.store.close()

    threads = [threading.Thread(target=drain, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(taken[0] + taken[1]) == list(range(1, 1001))
    assert_invariants(dsn, tasks=1000)


@pytest.mark.parametrize("limited", [False, True])
def test_only_a_commit_that_settles_nothing_need_not_wait_for_the_disk(
    queue: TaskQueue, dsn: str, *, limited: bool
) -> None:
    queues.set_limit(queue.store, JR, 5)
    for _ in range(2):
        queue.enqueue("x")

    def turn(outcomes: tuple[Outcome, ...]) -> tuple[str, tuple[Task, ...]]:
        with queue.store.write() as tx:
            tx.execute("SET LOCAL synchronous_commit = on")
            claimed = queue.turn_in(tx, outcomes, 1, limited=limited).claimed
            return str(tx.execute("SHOW synchronous_commit")[0][0]), claimed

    setting, tasks = turn(())
    assert setting == "off"
    setting, more = turn((Outcome(tasks[0], "completed"),))
    assert (setting, len(more)) == ("on", 1)
    assert_invariants(dsn, tasks=2)


def test_start_task_gives_a_fresh_attempt_once(queue: TaskQueue, another: Another, dsn: str) -> None:
    queue.enqueue("x")
    task = queue.start_task(1)
    assert task is not None
    assert (task.attempt, another().start_task(1), queue.start_task(1)) == (1, None, None)
    assert query(dsn, "SELECT lease_owner::text, lease_until > now() FROM jr_task_announcements") == [
        (str(queue.owner), True)
    ]
    assert_invariants(dsn, tasks=1)


def test_completion_result_and_history_are_one_commit(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    (task,) = queue.claim(1)
    queue.complete_task(task, {"rows": 3})
    row = query(dsn, "SELECT status, result, finished_at IS NOT NULL, lease_owner FROM jr_task_announcements")
    stamps = query(dsn, "SELECT event, actor::text, xmin::text FROM task_history WHERE event = 'completed'")
    assert row == [("completed", {"rows": 3}, True, None)]
    assert stamps == [("completed", str(queue.owner), query(dsn, "SELECT xmin::text FROM jr_task_announcements")[0][0])]
    with pytest.raises(LostLease, match="task 1 attempt 1 is no longer ours"):
        queue.complete_task(task)
    assert_invariants(dsn, tasks=1)


def test_a_stale_worker_cannot_finish_anothers_attempt(queue: TaskQueue, another: Another, dsn: str) -> None:
    queue.enqueue("x")
    (stale,) = queue.claim(1)
    query(dsn, "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s'")
    thief = another()
    assert thief.rescue() == ((1, "assigned"),)
    (fresh,) = thief.claim(1)
    assert fresh.attempt == 2
    with pytest.raises(LostLease):
        queue.complete_task(stale)
    with pytest.raises(LostLease):
        queue.fail_task(stale, RuntimeError("late"))
    thief.complete_task(fresh)
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_failures_retry_with_growing_pauses_then_fail(queue: TaskQueue, dsn: str) -> None:
    queue = make_queue(dsn, policy=Policy(lease=30, heartbeat=5, backoff=100.0, backoff_cap=150.0))
    queue.enqueue("x", max_attempts=3)
    pauses = []
    for _ in range(3):
        query(dsn, "UPDATE jr_task_announcements SET run_at = now()")
        (task,) = queue.claim(1)
        state = queue.fail_task(task, ValueError("no good"))
        pauses.append(
            float(query(dsn, "SELECT extract(epoch FROM run_at - clock_timestamp()) FROM jr_task_announcements")[0][0])
        )
    assert state == "failed"
    assert 49 <= pauses[0] <= 100
    assert 74 <= pauses[1] <= 150
    error = query(dsn, "SELECT last_error FROM jr_task_announcements")[0][0]
    assert (error["class"], error["message"]) == ("ValueError", "no good")
    assert "ValueError: no good" in error["traceback"]
    assert events(dsn, 1) == ["claimed", "retried", "claimed", "retried", "claimed", "failed"]
    assert_invariants(dsn, tasks=1)


def test_failing_for_good_does_not_retry(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    (task,) = queue.claim(1)
    assert queue.fail_task(task, ValueError("never"), retry=False) == "failed"
    assert_invariants(dsn, tasks=1)


def test_handing_back_and_interruptions_are_no_failures(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x", max_attempts=1)
    for verdict in ("handback", "interrupted"):
        query(dsn, "UPDATE jr_task_announcements SET run_at = now()")
        (task,) = queue.claim(1)
        turn = queue.settle((Outcome(task, verdict, {"class": "Disconnected", "message": "gone"}),))  # type: ignore[arg-type]
        assert turn.settled == {1: "assigned"}
    assert query(dsn, "SELECT failures, attempt FROM jr_task_announcements") == [(0, 2)]
    assert_invariants(dsn, tasks=1)


def test_a_worker_killing_task_becomes_dead_and_can_be_redriven(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    for expected in ("assigned", "assigned", "dead"):
        assert len(queue.claim(1) or queue.claim(1, solo=True)) == 1
        query(dsn, "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s'")
        assert queue.rescue() == ((1, expected),)
    assert query(dsn, "SELECT last_error->>'class' FROM jr_task_announcements") == [("WorkerDied",)]
    assert queues.move(queue.store, [1], event="redriven") == (1,)
    assert query(dsn, "SELECT status, lost_leases, failures FROM jr_task_announcements") == [("assigned", 0, 0)]
    assert_invariants(dsn, tasks=1)


def test_suspects_are_claimed_alone_only(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    queue.enqueue("y")
    query(dsn, "UPDATE jr_task_announcements SET lost_leases = 2 WHERE task_id = 1")
    assert [task.task_id for task in queue.claim(5)] == [2]
    assert [task.task_id for task in queue.claim(1, solo=True)] == [1]
    assert_invariants(dsn, tasks=2)


def test_a_dead_owner_is_rescued_before_its_lease_ends(queue: TaskQueue, another: Another, dsn: str) -> None:
    register = """INSERT INTO worker (worker_id, assignee, host, pid, heartbeat, session_lock, seen_at)
                  VALUES (%s, 'x', 'h', 1, '5 s', %s, clock_timestamp() - interval '11 s')"""
    locked, unlocked = make_queue(dsn, policy=Policy(lease=3600)), make_queue(dsn, policy=Policy(lease=3600))
    for owner, session_lock in ((locked, True), (unlocked, False)):
        query(dsn, register, str(owner.owner), session_lock)
        owner.enqueue("x")
        assert len(owner.claim(1)) == 1
    with locked.store.read() as tx:
        tx.execute("SELECT pg_advisory_lock(7237, hashtext(%s))", (str(locked.owner),))
        pid = tx.backend
    assert another().rescue() == ()
    query(dsn, "SELECT pg_terminate_backend(%s, 10000)", pid)
    assert another().rescue() == ((1, "assigned"),)
    assert_invariants(dsn, tasks=2)


def test_reset_stuck_narrows_and_only_looks_when_asked(queue: TaskQueue, another: Another, dsn: str) -> None:
    other = another()
    for owner in (queue, other):
        owner.enqueue("x")
        owner.claim(1)
    query(
        dsn,
        "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s', started_at = now() - interval '60 s'",
    )
    store, policy = queue.store, queue.policy
    assert queues.rescue(store, policy, dry=True, older=30) == ((1, "stuck"), (2, "stuck"))
    assert queues.rescue(store, policy, older=90) == ()
    assert queues.rescue(store, policy, worker=uuid4()) == ()
    assert queues.rescue(store, policy, worker=other.owner) == ((2, "assigned"),)
    assert [status_of(dsn, task) for task in (1, 2)] == ["in_progress", "assigned"]
    assert_invariants(dsn, tasks=2)


def test_forcing_takes_a_task_from_a_living_owner_who_is_refused_later(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    (task,) = queue.claim(1)
    assert queues.move(queue.store, [1, 99], event="forced") == (1,)
    with pytest.raises(LostLease):
        queue.complete_task(task)
    assert_invariants(dsn, tasks=1)


def test_cancel_touches_waiting_tasks_only(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    queue.enqueue("x")
    queue.claim(1)
    assert queues.move(queue.store, [1, 2], event="cancelled") == (2,)
    assert queues.move(queue.store, [], event="cancelled") == ()
    assert_invariants(dsn, tasks=2)


def test_the_database_itself_refuses_illegal_transitions(dsn: str) -> None:
    running = "gen_random_uuid(), now()"
    refused = set()
    for before, after in product(STATUSES, STATUSES):
        lease = running if before == "in_progress" else "NULL, NULL"
        insert = f"""INSERT INTO jr_task_announcements (kind, assignee, status, lease_owner, lease_until)
                     VALUES ('x', 'a', %s, {lease}) RETURNING task_id"""
        (task_id,) = query(dsn, insert, before)[0]
        lease = running if after == "in_progress" else "NULL::uuid, NULL::timestamptz"
        change = f"""UPDATE jr_task_announcements SET status = %s, (lease_owner, lease_until) = ROW({lease})
                     WHERE task_id = %s"""
        if before == after or (before, after) in LEGAL:
            query(dsn, change, after, task_id)
        else:
            with pytest.raises(psycopg2.IntegrityError, match=f"task {task_id} cannot go from {before} to {after}"):
                query(dsn, change, after, task_id)
            refused.add((before, after))
    assert len(refused) == 6 * 6 - 6 - len(LEGAL)


def test_history_is_append_only(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    queue.claim(1)
    for change in ("UPDATE task_history SET event = 'x'", "DELETE FROM task_history", "TRUNCATE task_history"):
        with pytest.raises(psycopg2.IntegrityError, match="append-only"):
            query(dsn, change)
    with pytest.raises(psycopg2.IntegrityError):
        query(dsn, "INSERT INTO jr_task_announcements (kind, assignee, status) VALUES ('x', 'a', 'paused')")
    assert_invariants(dsn, tasks=1)


def test_an_open_task_with_the_same_key_is_returned_instead(queue: TaskQueue, dsn: str) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert queue.enqueue("x", dedupe="k", at=later) == (1, True)
    first_id, new = queue.enqueue("x", dedupe="k")
    assert (first_id, new) == (1, False)
    (task,) = queue.claim(1)  # the earlier time won
    assert queue.enqueue("x", dedupe="k")[1] is False
    queue.complete_task(task)
    second, new = queue.enqueue("x", dedupe="k")
    assert new
    assert query(dsn, "SELECT count(*) FROM jr_task_announcements") == [(2,)]
    queue.fail_task(queue.claim(1)[0], ValueError("x"), retry=False)
    third, _ = queue.enqueue("x", dedupe="k")
    assert queues.move(queue.store, [second], event="redriven") == ()
    assert third != second
    assert_invariants(dsn, tasks=3)


def test_a_group_runs_one_at_a_time_oldest_first(queue: TaskQueue, another: Another, dsn: str) -> None:
    for group in ("g", "g", None, "h"):
        queue.enqueue("x", group=group)
    assert [task.task_id for task in another().claim(9)] == [1, 3, 4]
    assert queue.claim(9) == ()
    query(dsn, "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s' WHERE task_id = 1")
    assert queue.rescue() == ((1, "assigned"),)
    (first,) = queue.claim(9)
    queue.complete_task(first)
    assert [task.task_id for task in queue.claim(9)] == [2]
    assert_invariants(dsn, tasks=4)


def test_9_what_a_claim_whose_answer_was_lost_took_is_handed_on_by_the_heartbeat(
    proxy: Proxy, queue: TaskQueue, dsn: str
) -> None:
    worker = make_queue(proxy.dsn)
    pulse = Pulse(worker, held=dict, on_beat=print, main_advanced=lambda: 0.0, stall=60.0)
    pulse.register()
    assert worker.claim(1) == ()
    queue.enqueue("x")
    proxy.modes["dbsafety"] = "swallow_claim"
    assert worker.claim(1) == (), "claimed again, but the first claim counts"
    assert status_of(dsn, 1) == "in_progress"
    pulse.beat()
    assert queue.rescue() == (), "its answer may still be on the way"
    query(dsn, "UPDATE jr_task_announcements SET started_at = started_at - interval '1 s'")
    pulse.beat()
    assert queue.rescue() == ((1, "assigned"),)
    (task,) = queue.claim(1)
    queue.complete_task(task)
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    worker.store.close()
    assert_invariants(dsn, tasks=1)


def test_a_collision_on_a_group_is_claimed_again_not_an_error(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("other")
    (running,) = queue.claim(1)
    queue.enqueue("x", group="g")
    queue.enqueue("y")

    def collide() -> None:
        uow._active.tx.execute("DO $$ BEGIN RAISE EXCEPTION 'one_running_group' USING ERRCODE = '23505'; END $$")

    PLAN.add("before_claim", collide)
    turn = queue.settle((Outcome(running, "completed"),), 2)
    assert (turn.settled, [task.task_id for task in turn.claimed]) == ({1: "completed"}, [2])
    query(dsn, "UPDATE jr_task_announcements SET run_at = now()")
    PLAN.clear()
    for on_pass in (1, 2):
        PLAN.add("before_claim", collide, on_pass)
    assert queue.settle((), 2).claimed == ()
    assert [task.task_id for task in queue.claim(1)] == [3]
    assert_invariants(dsn, tasks=3)


def test_the_limit_of_an_assignee_holds_over_eight_workers(queue: TaskQueue, dsn: str) -> None:
    queues.set_limit(queue.store, JR, 2)
    queues.set_limit(queue.store, JR, 3)
    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) SELECT 'x', %s FROM generate_series(1, 100)", JR)
    most: list[int] = []
    running = "SELECT count(*) FROM jr_task_announcements WHERE status = 'in_progress'"

    def work() -> None:
        worker = make_queue(dsn)
        tasks = worker.claim(2, limited=True)
        while not query(dsn, "SELECT 1 FROM jr_task_announcements HAVING bool_and(status = 'completed')"):
            most.append(query(dsn, running)[0][0])
            tasks = worker.settle([Outcome(task, "completed") for task in tasks], 2, limited=True).claimed
        worker.store.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) == 3
    assert_invariants(dsn, tasks=100)


@pytest.mark.parametrize(
    ("payload", "options", "message"),
    [
        ({"a": {1, 2}}, {}, "the payload is not JSON: Object of type set"),
        (float("nan"), {}, "the payload is not JSON: Out of range"),
        ("x" * 10_000_000, {}, "the payload has 10000002 bytes, the limit is 1000000"),
        ("a\0b", {}, "the payload holds a NUL character"),
        ({}, {"dedupe": "a\0b"}, "NUL"),
        ({}, {"max_attempts": 0}, "violates check constraint"),
    ],
)
def test_bad_tasks_are_refused_with_a_reason(
    queue: TaskQueue, dsn: str, payload: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        queue.enqueue("x", payload, **options)
    assert queue.enqueue("x") is not None
    assert_invariants(dsn, tasks=1)


@pytest.mark.parametrize("assignee", ["Infrastructure Jr.", 'O\'Brien "Jr"', "a%sb;--", "名前"])
def test_names_with_spaces_quotes_and_dots_survive(dsn: str, assignee: str) -> None:
    queue = make_queue(dsn, assignee)
    queue.enqueue("x")
    (task,) = queue.claim(1)
    assert task.assignee == assignee
    queue.complete_task(task)
    queue.store.close()
    assert_invariants(dsn, tasks=1)


def test_completion_can_share_the_commit_of_the_work(queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    (task,) = queue.claim(1)
    with pytest.raises(RuntimeError), queue.store.write() as tx:
        queue.complete_task(task, "done", tx)
        raise RuntimeError
    assert status_of(dsn, 1) == "in_progress"
    with queue.store.write() as tx:
        queue.complete_task(task, "done", tx)
    assert status_of(dsn, 1) == "completed"
    assert_invariants(dsn, tasks=1)


def claim_new(queue: TaskQueue) -> Task:
    queue.enqueue("x")
    return queue.claim(1)[0]


METHODS: dict[str, Callable[[TaskQueue], object]] = {
    "get_assigned_tasks": lambda q: q.get_assigned_tasks(),
    "start_task": lambda q: q.start_task(q.enqueue("x")[0]),
    "complete_task": lambda q: q.complete_task(claim_new(q)),
    "fail_task": lambda q: q.fail_task(claim_new(q), ValueError("x")),
    "log_to_thermal_memory": lambda q: q.log_to_thermal_memory("a text"),
    "query_thermal_memory": lambda q: q.query_thermal_memory("text"),
    "record_fara_mistake": lambda q: q.record_fara_mistake("s", "k", {}),
    "get_fara_rules": lambda q: q.get_fara_rules("k"),
}


@pytest.mark.parametrize("sqlstate", ["22012", "42P01", "40001", "57014"])
@pytest.mark.parametrize("method", METHODS)
def test_18_each_statement_of_each_method_fails_and_the_next_call_succeeds(
    dsn: str, server: EmbeddedPostgres, method: str, sqlstate: str
) -> None:
    aborted = server.server_log().count(" 25P02 ")
    statements = 0

    def fail() -> None:
        uow._active.tx.execute(f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{sqlstate}'; END $$")

    for number in range(1, 20):
        queue = make_queue(dsn)
        PLAN.clear()
        PLAN.add("before_statement", fail, number)
        codes = []
        try:
            METHODS[method](queue)
        except StorageFault as fault:
            codes.append(fault.code)
        assert codes in ([], [sqlstate])
        reached = PLAN._passes["before_statement"] >= number
        PLAN.clear()
        METHODS[method](queue)
        queue.store.close()
        if not reached:
            break
        statements = number
    assert statements >= 1
    assert server.server_log().count(" 25P02 ") == aborted


def test_memory_ranks_by_text_and_heat_and_warms_what_it_returns(queue: TaskQueue, dsn: str) -> None:
    for body in ("disk full on the database host", "disk replaced", "network is slow"):
        queue.log_to_thermal_memory(body)
    noon = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)
    query(dsn, "UPDATE thermal_memory SET used_at = %s", noon)
    found = queue.query_thermal_memory("which disk is full?", limit=5, at=noon)
    assert [memory.body for memory in found] == ["disk full on the database host", "disk replaced"]
    assert query(dsn, "SELECT hits FROM thermal_memory ORDER BY memory_id") == [(1,), (1,), (0,)]
    query(dsn, "UPDATE thermal_memory SET hits = 0, used_at = %s", noon)
    (day,) = queue.query_thermal_memory("network", at=noon + timedelta(days=1), half_life=86_400)
    query(dsn, "UPDATE thermal_memory SET hits = 0, used_at = %s", noon)
    (now,) = queue.query_thermal_memory("network", at=noon, half_life=86_400)
    assert day.score == pytest.approx(now.score / 2)
    (warm,) = queue.query_thermal_memory("network", at=noon, half_life=86_400)
    assert warm.score > now.score
    assert queue.query_thermal_memory("nothing at all") == ()
    assert_invariants(dsn)


def test_mistakes_are_counted_in_one_row(queue: TaskQueue, dsn: str) -> None:
    assert [queue.record_fara_mistake("s", "k", {"n": n}) for n in range(3)] == [1, 2, 3]
    assert query(dsn, "SELECT count, sample, last_seen > first_seen FROM fara_mistake") == [(3, {"n": 2}, True)]
    assert_invariants(dsn)


def test_rules_come_by_weight(queue: TaskQueue) -> None:
    for rule, by in (("look first", 1.0), ("ask", 3.0), ("look first", 5.0)):
        queue.weigh_fara_rule("k", rule, by)
    assert queue.get_fara_rules("k") == (("look first", 7.0), ("ask", 4.0))
    assert queue.get_fara_rules("other") == ()


def test_failing_side_steps_are_counted_and_change_no_outcome(queue: TaskQueue, dsn: str) -> None:
    query(dsn, "DROP TABLE thermal_memory, fara_rule, fara_mistake CASCADE")
    queue.enqueue("x")
    (task,) = queue.claim(1)
    assert queue.log_to_thermal_memory("x") is None
    assert queue.query_thermal_memory("x") == ()
    assert queue.record_fara_mistake("s", "k", {}) is None
    assert queue.get_fara_rules("k") == ()
    assert queue.weigh_fara_rule("k", "r") is None
    queue.complete_task(task)
    assert_invariants(dsn, tasks=1)
