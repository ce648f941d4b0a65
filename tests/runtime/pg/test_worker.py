"""A whole worker (main loop, slots, pulse, listener) against faults of the server, the network and its handlers."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

import psycopg2
import pytest

from dbsafety_runtime.executor import pulse as pulse_module
from dbsafety_runtime.executor import queue as queues
from dbsafety_runtime.executor import slots as slots_module
from dbsafety_runtime.executor import worker as worker_module
from dbsafety_runtime.executor.handlers import Cancelled, Context, GiveUp, Handler
from dbsafety_runtime.executor.listener import Wake
from dbsafety_runtime.executor.model import Outcome, Policy
from dbsafety_runtime.executor.pulse import WorkerIdInUse
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops.faults import ACTIONS, PLAN, FaultInjected
from dbsafety_runtime.storage.errors import CommitRefused, Rejected, StorageBug
from dbsafety_runtime.storage.pg import Target
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    JR,
    PATIENCE,
    TUNED,
    Proxy,
    WorkerThread,
    all_done,
    assert_invariants,
    end_sessions,
    events,
    make_queue,
    query,
    status_of,
    wait_until,
)

NOOP: dict[str, Handler] = {"noop": jobs.noop, "sleep": jobs.sleep, "effect": jobs.effect}


def running(dsn: str, worker: WorkerThread) -> None:
    """Wait until the worker is registered and has claimed for the first time."""
    wait_until(lambda: worker.worker._ready or worker.error, "the worker starts")
    assert worker.error is None


def error_of(dsn: str, task_id: int) -> dict[str, str]:
    return dict(query(dsn, "SELECT last_error FROM jr_task_announcements WHERE task_id = %s", task_id)[0][0])


def test_it_drains_tasks_and_stays_up(dsn: str, queue: TaskQueue) -> None:
    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) SELECT 'noop', %s FROM generate_series(1, 300)", JR)
    with WorkerThread(dsn, NOOP, concurrency=3, batch=10) as worker:
        wait_until(lambda: all_done(dsn))
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 301) == "completed")
        assert worker.stop() == 0
    assert query(dsn, "SELECT count(*) FROM worker") == [(0,)]
    assert_invariants(dsn, tasks=301)


def test_a_slot_settles_and_claims_on_its_own_thread_with_one_statement_for_each_task(dsn: str) -> None:
    """The main loop claims the first task, then may be awake for one more turn; the slot needs neither it nor more."""
    threads: dict[str, list[str]] = {"before_claim": [], "before_statement": []}
    gate = threading.Event()

    def wait(_context: Context) -> None:
        gate.wait(PATIENCE)
        for point, names in threads.items():
            PLAN.add(point, partial(lambda names: names.append(threading.current_thread().name), names), 0)

    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee, priority) VALUES ('wait', %s, 1)", JR)
    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) SELECT 'noop', %s FROM generate_series(1, 20)", JR)
    with WorkerThread(dsn, NOOP | {"wait": wait}, policy=Policy(poll=60.0)) as worker:
        wait_until(lambda: worker.worker.listener.advanced > worker.worker.listener._heard, "it listens")
        gate.set()
        wait_until(lambda: all_done(dsn))
        assert threads["before_claim"].count("slot") >= 19
        assert threads["before_statement"].count("slot") <= 22, "the first turn prepares, the last finds nothing"
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=21)


def test_an_idle_slot_hears_claims_and_runs_on_one_thread(dsn: str, queue: TaskQueue) -> None:
    """While one slot is busy, another one listens. The listener's own thread hears one announcement at most."""
    claimed_by: list[int] = []
    run_by: list[int] = []
    gate = threading.Event()

    def wait(_context: Context) -> None:
        gate.wait(PATIENCE)

    def note(_context: Context) -> None:
        run_by.append(threading.get_ident())

    with WorkerThread(dsn, {"wait": wait, "note": note}, concurrency=3, policy=Policy(poll=60.0)) as worker:
        wait_until(lambda: worker.worker.listener.advanced > worker.worker.listener._heard, "it listens")
        queue.enqueue("wait")
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        for number in range(2, 8):
            wait_until(lambda: worker.worker.slots._listening, "an idle slot listens")
            PLAN.clear()
            PLAN.add("before_claim", lambda: claimed_by.append(threading.get_ident()))
            queue.enqueue("note")
            wait_until(lambda number=number: status_of(dsn, number) == "completed")
        gate.set()
        assert worker.stop() == 0
    assert sum(by == ran for by, ran in zip(claimed_by, run_by, strict=True)) >= 5
    assert_invariants(dsn, tasks=7)


def test_a_failure_of_a_turn_on_a_slots_thread_ends_the_worker(dsn: str, queue: TaskQueue) -> None:
    PLAN.add("before_settle_commit", ACTIONS["raise"])
    queue.enqueue("noop")
    with WorkerThread(dsn, NOOP) as worker:
        wait_until(lambda: worker.error)
    assert isinstance(worker.error, FaultInjected)
    assert status_of(dsn, 1) == "in_progress", "its lease hands it on"


def test_one_poison_task_among_a_hundred(dsn: str, queue: TaskQueue) -> None:
    def bad(_context: Context) -> None:
        raise ValueError("no good")

    query(dsn, "INSERT INTO jr_task_announcements (kind, assignee) SELECT 'noop', %s FROM generate_series(1, 99)", JR)
    queue.enqueue("bad", max_attempts=2)
    with WorkerThread(dsn, NOOP | {"bad": bad}, once=False, batch=5):
        wait_until(lambda: all_done(dsn))
    counts = query(dsn, "SELECT status, count(*) FROM jr_task_announcements GROUP BY 1 ORDER BY 1")
    assert counts == [("completed", 99), ("failed", 1)]
    assert query(dsn, "SELECT signature, count FROM fara_mistake") == [("bad: ValueError: no good", 2)]
    assert_invariants(dsn, tasks=100)


def test_an_attempt_claimed_again_after_a_crash_undid_its_claim_goes_on_once(dsn: str, queue: TaskQueue) -> None:
    runs, going_on = [], threading.Event()

    def slow(context: Context) -> None:
        runs.append(context.task.attempt)
        going_on.wait(30)

    task_id, _ = queue.enqueue("slow")
    with WorkerThread(dsn, {"slow": slow}, concurrency=2) as worker:
        wait_until(lambda: runs == [1])
        with closing(psycopg2.connect(dsn)) as conn, conn, conn.cursor() as cur:
            cur.execute("SET session_replication_role = replica")
            cur.execute("DELETE FROM task_history WHERE event = 'claimed'")
            undone = "status = 'assigned', attempt = 0, lease_owner = NULL, lease_until = NULL"
            cur.execute(f"UPDATE jr_task_announcements SET {undone}")
        wait_until(lambda: status_of(dsn, task_id) == "in_progress")
        going_on.set()
        wait_until(lambda: all_done(dsn))
        assert worker.worker.slots.abandoned == 0
    assert runs == [1]
    assert status_of(dsn, task_id) == "completed"
    assert_invariants(dsn, tasks=1)


def test_once_ends_when_nothing_is_ready(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("noop")
    with WorkerThread(dsn, NOOP, once=True) as worker:
        worker.thread.join(20)
        assert (worker.code, status_of(dsn, 1)) == (0, "completed")
    assert_invariants(dsn, tasks=1)


def test_6_sessions_ended_while_idle(dsn: str, queue: TaskQueue) -> None:
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        wait_until(lambda: worker.worker.listener._subscription, "it listens")
        assert end_sessions(dsn) >= 3
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=1)


@pytest.mark.parametrize("point", ["before_claim", "before_settle_commit"])
def test_7_8_the_session_is_ended_just_before_a_commit(dsn: str, queue: TaskQueue, point: str) -> None:
    PLAN.add(point, lambda: end_sessions(dsn, "dbsafety:main:%"))
    with WorkerThread(dsn, NOOP):
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == ["claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_10_a_half_open_listener_is_replaced_and_polling_goes_on(dsn: str, queue: TaskQueue, proxy: Proxy) -> None:
    with WorkerThread(dsn, NOOP, target=Target(proxy.dsn)) as worker:
        running(dsn, worker)
        wait_until(
            lambda: query(dsn, "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'dbsafety:listener%'")
        )
        proxy.modes["listener"] = "hole"
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed", "polling goes on")
        wait_until(lambda: worker.worker.listener.replaced, "the listener is replaced")
    assert_invariants(dsn, tasks=1)


def test_11_a_half_open_main_session_is_cut_and_replaced(dsn: str, queue: TaskQueue, proxy: Proxy) -> None:
    with WorkerThread(dsn, NOOP, target=Target(proxy.dsn, statement_ms=100)) as worker:
        running(dsn, worker)
        proxy.modes["main:"] = "hole"
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=1)


def test_12_without_notifications_the_poll_finds_it(dsn: str, queue: TaskQueue) -> None:
    query(dsn, "ALTER TABLE jr_task_announcements DISABLE TRIGGER announce")
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert_invariants(dsn, tasks=1)


def test_13_a_storm_of_notifications_costs_few_turns(dsn: str, queue: TaskQueue) -> None:
    with WorkerThread(dsn, NOOP, policy=replace(TUNED, poll=5.0)) as worker:
        running(dsn, worker)
        turns: list[int] = []
        PLAN.add("main_loop", lambda: turns.append(1), 0)
        query(dsn, "SELECT pg_notify('jr_task_announcements', 'x' || n) FROM generate_series(1, 10000) AS n")
        query(dsn, "SELECT count(pg_notify('jr_task_announcements', %s)) FROM generate_series(1, 10000)", JR)
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert len(turns) < 50
    assert_invariants(dsn, tasks=1)


def test_17_a_read_only_server_degrades_and_resumes(dsn: str, queue: TaskQueue) -> None:
    name = query(dsn, "SELECT current_database()")[0][0]
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed")
        query(dsn, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        end_sessions(dsn)
        wait_until(lambda: worker.worker._pause, "degraded")
        query(
            dsn, "BEGIN READ WRITE; INSERT INTO jr_task_announcements (kind, assignee) VALUES ('noop', %s); COMMIT", JR
        )
        query(dsn, f"BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT")
        end_sessions(dsn)
        wait_until(lambda: status_of(dsn, 2) == "completed", "resumed")
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=2)


def test_21_a_held_table_lock_degrades_and_resumes(dsn: str, queue: TaskQueue) -> None:
    with WorkerThread(dsn, NOOP, target=Target(dsn, lock_ms=100)) as worker:
        running(dsn, worker)
        holder = psycopg2.connect(dsn, connect_timeout=5)
        with holder.cursor() as cur:
            cur.execute("LOCK TABLE jr_task_announcements IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: worker.worker._pause, "degraded")
        holder.close()
        queue.enqueue("noop")
        wait_until(lambda: status_of(dsn, 1) == "completed", "resumed")
    assert_invariants(dsn, tasks=1)


@pytest.mark.parametrize("sqlstate", ["53100", "53300", "53200", "58030"])
def test_23_a_server_without_resources_stops_claiming_and_loses_nothing(
    dsn: str, queue: TaskQueue, sqlstate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SLOW_PAUSE", 0.2)
    query(
        dsn,
        f"""CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '{sqlstate}'; END $$""",
    )
    gate = threading.Event()

    def wait(_context: Context) -> None:
        gate.wait(20)

    with WorkerThread(dsn, {"wait": wait}) as worker:
        queue.enqueue("wait")
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        query(dsn, "CREATE TRIGGER full_disk BEFORE INSERT ON task_history EXECUTE FUNCTION full_disk()")
        gate.set()
        wait_until(lambda: worker.worker._pause, "degraded")
        assert status_of(dsn, 1) == "in_progress"
        query(dsn, "DROP TRIGGER full_disk ON task_history")
        wait_until(lambda: status_of(dsn, 1) == "completed", "resumed")
    assert events(dsn, 1) == ["claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_31_the_workers_clock_does_not_matter(dsn: str, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for shift in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: real() + shift)
        (task_id, _) = queue.enqueue("sleep", {"seconds": 0.7})
        with WorkerThread(dsn, NOOP):
            wait_until(lambda task_id=task_id: status_of(dsn, task_id) == "completed")
        assert events(dsn, task_id) == ["claimed", "completed"]
    assert_invariants(dsn, tasks=2)


def test_33_a_lost_lease_sets_the_cancel_flag_and_the_finish_is_refused(dsn: str, queue: TaskQueue) -> None:
    reasons: list[str] = []
    finished = threading.Event()

    def wait(context: Context) -> None:
        context.cancelled.wait(20)
        reasons.append(context.reason)
        finished.set()

    with WorkerThread(dsn, {"wait": wait}):
        queue.enqueue("wait")
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        query(dsn, "UPDATE jr_task_announcements SET assignee = 'nobody'")
        queues.move(queue.store, [1], event="forced")
        assert finished.wait(20)
    assert reasons == ["lease lost"]
    assert events(dsn, 1) == ["claimed", "forced"]
    assert_invariants(dsn, tasks=1)


def test_34_a_hanging_handler_is_cancelled_abandoned_and_its_slot_replaced(
    dsn: str, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "CANCEL_GRACE", 0.2)
    release = threading.Event()
    cancelled: list[str] = []

    def hang(context: Context) -> None:
        release.wait(30)
        cancelled.append(context.reason)

    queue.enqueue("hang", deadline=0.2, max_attempts=1)
    queue.enqueue("noop")
    with WorkerThread(dsn, NOOP | {"hang": hang}) as worker:
        wait_until(lambda: status_of(dsn, 2) == "completed", "the slot is free again")
        assert status_of(dsn, 1) == "failed"
        assert worker.worker.slots.abandoned == 1
        release.set()
        wait_until(lambda: worker.worker.slots.abandoned == 0, "the thread came back")
        assert worker.stop() == 0
    assert error_of(dsn, 1)["class"] == "DeadlineExceeded"
    assert (cancelled, events(dsn, 1)) == (["deadline"], ["claimed", "failed"])
    assert_invariants(dsn, tasks=2)


def test_34_a_handler_that_obeys_the_deadline_is_retried(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("sleep", {"seconds": 30}, deadline=0.1, max_attempts=2)
    with WorkerThread(dsn, NOOP):
        wait_until(lambda: status_of(dsn, 1) == "failed")
    assert (events(dsn, 1), error_of(dsn, 1)["message"]) == (["claimed", "retried", "claimed", "failed"], "deadline")
    assert_invariants(dsn, tasks=1)


def test_34_too_many_hanging_handlers_restart_the_worker(
    dsn: str, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "CANCEL_GRACE", 0.1)
    monkeypatch.setattr(worker_module, "CANCEL_GRACE", 0.1)
    release = threading.Event()
    for _ in range(2):
        queue.enqueue("hang", deadline=0.1)
    with WorkerThread(dsn, {"hang": lambda _context: release.wait(30)}, grace=0.2) as worker:
        worker.thread.join(20)
        assert worker.code == worker_module.EXIT_STUCK
    release.set()
    assert_invariants(dsn, tasks=2)


def test_37_payloads_a_handler_cannot_use(dsn: str, queue: TaskQueue) -> None:
    def strict(context: Context) -> int:
        return len(context.task.payload["text"])

    query(
        dsn,
        """INSERT INTO jr_task_announcements (kind, assignee, payload, max_attempts) VALUES
           ('strict', %s, '[]', 1), ('strict', %s, jsonb_build_object('text', repeat('x', 10000000)), 1),
           ('strict', %s, 'null', 1), ('unknown kind', %s, '{}', 1)""",
        *[JR] * 4,
    )
    with WorkerThread(dsn, {"strict": strict}):
        wait_until(lambda: all_done(dsn))
    assert [status_of(dsn, task) for task in (1, 2, 3, 4)] == ["failed", "completed", "failed", "failed"]
    assert error_of(dsn, 4)["message"] == "no handler for kind 'unknown kind'"
    assert_invariants(dsn, tasks=4)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({1, 2}, "Object of type set is not JSON serializable"),
        (float("inf"), "Out of range float values are not JSON compliant"),
        ("a\0b", "the result holds a NUL character"),
    ],
)
def test_37_results_that_are_no_json(dsn: str, queue: TaskQueue, result: object, message: str) -> None:
    queue.enqueue("odd")
    queue.enqueue("noop")
    with WorkerThread(dsn, NOOP | {"odd": lambda _context: result}):
        wait_until(lambda: all_done(dsn))
    assert error_of(dsn, 1)["message"].startswith(message)
    assert (status_of(dsn, 1), status_of(dsn, 2)) == ("failed", "completed")
    assert_invariants(dsn, tasks=2)


def test_37_an_outcome_the_database_rejects_fails_alone(dsn: str, queue: TaskQueue) -> None:
    for kind in ("odd", "noop"):
        queue.enqueue(kind)
    handlers = NOOP | {"odd": lambda _context: "a lone surrogate: \ud800"}
    with WorkerThread(dsn, handlers, batch=2):
        wait_until(lambda: all_done(dsn))
    assert (status_of(dsn, 1), status_of(dsn, 2)) == ("failed", "completed")
    assert error_of(dsn, 1)["message"] == "invalid input syntax for type json"
    assert_invariants(dsn, tasks=2)


BAD_HANDLERS: dict[str, tuple[Callable[[Context], object], str, str]] = {}


def bad_handler(error: str, status: str = "failed") -> Callable[[Handler], Handler]:
    def register(function: Handler) -> Handler:
        BAD_HANDLERS[function.__name__] = (function, error, status)
        return function

    return register


@bad_handler("CommitRefused")
def swallows_and_commits(context: Context) -> None:
    with context.write() as tx:
        try:
            tx.execute("SELECT 1/0")
        except Rejected:
            pass


@bad_handler("CommitRefused")
def swallows_the_refusal_too(context: Context) -> str:
    try:
        swallows_and_commits(context)
    except CommitRefused:
        pass
    return "fine"


@bad_handler("CommitRefused")
def leaves_a_transaction_open(context: Context) -> None:
    jobs.leave_open(context)


@bad_handler("StorageBug")
def opens_a_second_unit_of_work(context: Context) -> None:
    with context.write(), context.write():
        pass


@bad_handler("SystemExit")
def exits(_context: Context) -> None:
    raise SystemExit(3)


@bad_handler("GiveUp")
def gives_up(_context: Context) -> None:
    raise GiveUp("can never work")


@bad_handler("StorageBug")
def sends_bad_sql(context: Context) -> None:
    with context.write() as tx:
        tx.execute("SELEC 1")


@bad_handler("Rejected")
def violates_a_constraint(context: Context) -> None:
    with context.write() as tx:
        tx.execute("INSERT INTO jr_task_announcements (kind, assignee) VALUES ('', '')")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise LookupError


@bad_handler("Unspeakable")
def raises_what_has_no_text(_context: Context) -> None:
    raise Unspeakable


@bad_handler("RecursionError")
def returns_what_is_nested_too_deeply(_context: Context) -> object:
    result: object = None
    for _ in range(100_000):
        result = [result]
    return result


@bad_handler("Cancelled")
def says_cancelled_unasked(_context: Context) -> None:
    raise Cancelled


@bad_handler("Retryable")
def runs_a_statement_into_its_limit(context: Context) -> None:
    with context.write() as tx:
        tx.execute("SET LOCAL statement_timeout = 1")
        tx.execute("SELECT pg_sleep(20)")


@bad_handler("StorageBug")
def rolls_back_its_completion_by_hand(context: Context) -> None:
    with context.write() as tx:
        context.complete(tx)
        tx.execute("ROLLBACK")


@bad_handler("CommitRefused")
def swallows_a_syntax_error_and_completes(context: Context) -> None:
    with context.write() as tx:
        try:
            tx.execute("SELEC 1")
        except StorageBug:
            pass
        context.complete(tx)


@pytest.mark.parametrize("name", BAD_HANDLERS)
def test_19_bad_handlers_are_recorded_and_harm_nobody(dsn: str, queue: TaskQueue, name: str) -> None:
    function, error, status = BAD_HANDLERS[name]
    queue.enqueue("bad", max_attempts=1)
    queue.enqueue("effect")
    with WorkerThread(dsn, NOOP | {"bad": function}) as worker:
        wait_until(lambda: all_done(dsn))
        assert worker.stop() == 0
    jobs.LEFT.clear()
    assert (status_of(dsn, 1), error_of(dsn, 1)["class"], status_of(dsn, 2)) == (status, error, "completed")
    assert_invariants(dsn, tasks=2)


def test_a_handler_interrupted_by_the_database_is_run_again_and_did_not_fail(dsn: str, queue: TaskQueue) -> None:
    first = threading.Event()

    def unlucky(context: Context) -> None:
        with context.write() as tx:
            if not first.is_set():
                first.set()
                query(dsn, "SELECT pg_terminate_backend(%s)", tx.backend)
            tx.execute("SELECT 1")

    queue.enqueue("unlucky", max_attempts=1)
    with WorkerThread(dsn, {"unlucky": unlucky}):
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == ["claimed", "handed_back", "claimed", "completed"]
    assert query(dsn, "SELECT failures FROM jr_task_announcements") == [(0,)]
    assert_invariants(dsn, tasks=1)


def test_effect_and_completion_in_one_commit(dsn: str, queue: TaskQueue) -> None:
    def both(context: Context) -> None:
        with context.write() as tx:
            assert context.once(tx, "mark")
            tx.execute("INSERT INTO thermal_memory (body) VALUES ('effect')")
            context.complete(tx, {"by": "the handler"})

    queue.enqueue("both")
    with WorkerThread(dsn, {"both": both}):
        wait_until(lambda: status_of(dsn, 1) == "completed")
    stamps = "SELECT (SELECT xmin::text FROM thermal_memory), (SELECT xmin::text FROM jr_task_announcements)"
    effect, completion = query(dsn, stamps)[0]
    assert effect == completion
    assert events(dsn, 1) == ["claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_38_sigterm_hands_back_what_waits_and_what_stops_on_request(dsn: str, queue: TaskQueue) -> None:
    for _ in range(3):
        queue.enqueue("sleep", {"seconds": 30})
    with WorkerThread(dsn, NOOP, batch=3, grace=0.1) as worker:
        wait_until(lambda: status_of(dsn, 3) == "in_progress")
        assert worker.stop() == 0
    assert [status_of(dsn, task) for task in (1, 2, 3)] == ["assigned"] * 3
    assert [events(dsn, task)[-1] for task in (1, 2, 3)] == ["handed_back"] * 3
    assert query(dsn, "SELECT sum(failures), sum(lost_leases) FROM jr_task_announcements") == [(0, 0)]
    assert_invariants(dsn, tasks=3)


def test_38_a_handler_that_finishes_within_the_grace_time_is_completed(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("sleep", {"seconds": 0.3})
    with WorkerThread(dsn, NOOP) as worker:
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        assert worker.stop() == 0
    assert status_of(dsn, 1) == "completed"
    assert_invariants(dsn, tasks=1)


def test_38_a_handler_that_ignores_the_request_is_surrendered(
    dsn: str, queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "CANCEL_GRACE", 0.2)
    release = threading.Event()
    queue.enqueue("hang")
    with WorkerThread(dsn, {"hang": lambda _context: release.wait(30)}, grace=0.1) as worker:
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        assert worker.stop() == 0
    release.set()
    assert events(dsn, 1) == ["claimed", "handed_back"]
    assert_invariants(dsn, tasks=1)


def test_39_reset_stuck_leaves_a_living_owners_tasks_alone(dsn: str, queue: TaskQueue) -> None:
    release = threading.Event()
    queue.enqueue("wait")
    with WorkerThread(dsn, {"wait": lambda _context: release.wait(20) and None}):
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        for _ in range(20):
            assert queues.rescue(queue.store, TUNED) == ()
        release.set()
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == ["claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_40_a_second_process_with_the_same_id_is_refused(dsn: str) -> None:
    with WorkerThread(dsn, NOOP) as first:
        running(dsn, first)
        with WorkerThread(dsn, NOOP, worker_id=first.worker.queue.owner) as second:
            second.thread.join(20)
            assert isinstance(second.error, WorkerIdInUse)
    assert_invariants(dsn)


def test_the_worker_row_and_the_lock_come_back_after_a_lost_session(dsn: str) -> None:
    lock = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7237"
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        query(dsn, "DELETE FROM worker")
        end_sessions(dsn, "dbsafety:pulse:%")
        wait_until(lambda: query(dsn, "SELECT count(*) FROM worker") == [(1,)] and query(dsn, lock) == [(1,)])
    assert_invariants(dsn)


def test_suspects_run_alone_and_the_rest_goes_on(dsn: str, queue: TaskQueue) -> None:
    together: list[tuple[int, ...]] = []
    holder: list[WorkerThread] = []

    def look(_context: Context) -> None:
        together.append(tuple(sorted(holder[0].worker.slots.held())))

    for _ in range(6):
        queue.enqueue("look")
    query(dsn, "UPDATE jr_task_announcements SET lost_leases = 2 WHERE task_id IN (2, 5)")
    with WorkerThread(dsn, {"look": look}, batch=10) as worker:
        holder.append(worker)
        wait_until(lambda: all_done(dsn))
    assert (2,) in together
    assert (5,) in together
    assert all(2 not in held and 5 not in held for held in together if len(held) > 1)
    assert_invariants(dsn, tasks=6)


def test_the_limit_holds_for_running_workers(dsn: str, queue: TaskQueue) -> None:
    queues.set_limit(queue.store, JR, 1)
    active, most = [0], [0]
    lock = threading.Lock()

    def count(_context: Context) -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        time.sleep(0.01)
        with lock:
            active[0] -= 1

    with WorkerThread(dsn, {"count": count}, concurrency=3) as first:
        wait_until(lambda: first.worker._beat.limit == 1)
        for _ in range(10):
            queue.enqueue("count")
        wait_until(lambda: all_done(dsn))
    assert most == [1]
    assert_invariants(dsn, tasks=10)


def test_our_own_bug_ends_the_worker_with_it(dsn: str, queue: TaskQueue) -> None:
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        query(dsn, "ALTER TABLE jr_task_announcements RENAME COLUMN failures TO misses")
        worker.thread.join(20)
        assert isinstance(worker.error, StorageBug)


def test_memory_of_a_task_is_at_hand_in_the_handler(dsn: str, queue: TaskQueue) -> None:
    def remember(context: Context) -> int:
        context.memory.log_to_thermal_memory("the answer is 42")
        return len(context.memory.query_thermal_memory("answer"))

    queue.enqueue("remember")
    with WorkerThread(dsn, {"remember": remember}):
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert query(dsn, "SELECT result FROM jr_task_announcements") == [(1,)]


def test_outcome_of_a_lost_attempt_does_not_disturb_the_others(dsn: str) -> None:
    queue = make_queue(dsn)
    for _ in range(2):
        queue.enqueue("x")
    tasks = queue.claim(2)
    queues.move(queue.store, [1], event="forced")
    turn = queue.settle([Outcome(task, "completed") for task in tasks])
    assert ([outcome.task.task_id for outcome in turn.refused], turn.settled) == ([1], {2: "completed"})
    queue.store.close()
    assert_invariants(dsn, tasks=2)


def test_an_id_taken_over_ends_the_process(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session with the lock is lost and somebody else gets the lock first: this process must not go on."""
    codes: list[int] = []
    monkeypatch.setattr(pulse_module.os, "_exit", codes.append)
    with WorkerThread(dsn, NOOP) as worker:
        running(dsn, worker)
        other = psycopg2.connect(dsn, connect_timeout=5)
        waiting = threading.Thread(
            target=lambda: other.cursor().execute(
                "SELECT pg_advisory_lock(7237, hashtext(%s))", (str(worker.worker.queue.owner),)
            )
        )
        waiting.start()
        wait_until(lambda: query(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        end_sessions(dsn, "dbsafety:pulse:%")
        wait_until(lambda: codes)
        waiting.join(10)
        other.close()
    assert codes[0] == 70


def test_a_session_that_only_the_worker_has_lost_is_not_taken_for_another_process(
    dsn: str, queue: TaskQueue, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server still has the pulse's session, in a transaction that locks the worker's row, and its advisory lock."""
    codes: list[int] = []
    monkeypatch.setattr(pulse_module.os, "_exit", codes.append)
    holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 7237 AND granted"
    with WorkerThread(proxy.dsn, NOOP) as worker:
        running(dsn, worker)
        (lost,) = query(dsn, holder)
        proxy.modes["pulse"] = "half"
        wait_until(lambda: query(dsn, holder) not in ([], [lost]), seconds=4.5)  # sooner than any lock timeout
        queue.enqueue("noop")
        wait_until(lambda: all_done(dsn))
        assert worker.stop() == 0
    assert codes == []
    assert_invariants(dsn, tasks=1)


def test_a_claim_that_failed_is_tried_again_after_the_pause_not_at_the_next_poll(dsn: str, queue: TaskQueue) -> None:
    calm = Policy(lease=30.0, heartbeat=5.0, poll=60.0)
    with (
        WorkerThread(dsn, NOOP, policy=calm, target=Target(dsn, lock_ms=200)) as worker,
        closing(psycopg2.connect(dsn)) as other,
    ):
        running(dsn, worker)
        with other, other.cursor() as cur:
            cur.execute("SET session_replication_role = replica")  # no notification at the end
            cur.execute("LOCK TABLE jr_task_announcements IN ACCESS EXCLUSIVE MODE")
            cur.execute("INSERT INTO jr_task_announcements (kind, assignee) VALUES ('noop', %s)", (JR,))
            query(dsn, "SELECT pg_notify('jr_task_announcements', %s)", JR)
            wait_until(lambda: worker.worker._pause)
            first = worker.worker._pause
            wait_until(lambda: worker.worker._pause != first, "the turn that the failed one asked for fails, too")
        wait_until(lambda: all_done(dsn))
        assert worker.stop() == 0
    assert_invariants(dsn, tasks=1)


def test_waiting_on_a_socket_with_a_high_number() -> None:
    """More open files than select() can name, as with hundreds of slots that run programs."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    wake = Wake()
    left, right = socket.socketpair()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        number = fcntl.fcntl(left.fileno(), fcntl.F_DUPFD, 1500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert wake.wait(0.0, number) is False
    right.send(b"!")
    assert wake.wait(5.0, number) is True
    os.close(number)
    left.close()
    right.close()
    wake.close()


def test_waiting_on_a_socket_that_was_closed_meanwhile() -> None:
    wake = Wake()
    left, right = socket.socketpair()
    number = left.fileno()
    left.close()
    right.close()
    assert wake.wait(5.0, number) is False
    wake.set()
    wake.set()
    assert (wake.wait(5.0), wake.take(), wake.take()) == (False, True, False)
    wake.close()
    wake.set()
