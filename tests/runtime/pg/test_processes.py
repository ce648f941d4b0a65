"""Worker processes killed, stopped, aborted and asked to end; what they held is run again, once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dbsafety_runtime.executor.pulse import EXIT_STALLED
from dbsafety_runtime.executor.queue import TaskQueue
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    ROOT,
    WorkerThread,
    all_done,
    assert_invariants,
    events,
    query,
    status_of,
    wait_until,
    worker_process,
)

HANDLERS = {"noop": jobs.noop, "effect": jobs.effect, "sleep": jobs.sleep}
KILLED = -signal.SIGKILL


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        pytest.param("before_claim", ["claimed", "completed"], id="1-before-claim-commit"),
        pytest.param("after_claim_commit", ["claimed", "rescued", "claimed", "completed"], id="2-after-claim-commit"),
        pytest.param("before_handler", ["claimed", "rescued", "claimed", "completed"], id="3-in-the-handler"),
        pytest.param("after_handler", ["claimed", "rescued", "claimed", "completed"], id="4-after-the-effect"),
        pytest.param(
            "before_settle_commit", ["claimed", "rescued", "claimed", "completed"], id="5-before-settle-commit"
        ),
        pytest.param("after_settle_commit", ["claimed", "completed"], id="5-after-settle-commit"),
    ],
)
def test_1_to_5_kill_9_at_each_stage(dsn: str, queue: TaskQueue, point: str, expected: list[str]) -> None:
    queue.enqueue("effect")
    with worker_process(dsn, fault=f"{point}:kill") as process:
        assert process.wait(30) == KILLED
    with WorkerThread(dsn, HANDLERS):
        seconds = wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == expected
    assert query(dsn, "SELECT count(*) FROM thermal_memory") == [(1,)]
    assert seconds < 3.0, "the bound for tuned times"
    assert_invariants(dsn, tasks=1)


def test_3_kill_9_by_signal_while_the_handler_runs(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("sleep", {"seconds": 0.5})
    with worker_process(dsn) as process:
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        process.kill()
        process.wait()
    with WorkerThread(dsn, HANDLERS):
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_33_a_stopped_worker_is_overtaken_and_refused(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("stubborn", {"seconds": 0.5})
    with worker_process(dsn) as process:
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        process.send_signal(signal.SIGSTOP)
        with WorkerThread(dsn, {"stubborn": jobs.noop}):
            wait_until(lambda: status_of(dsn, 1) == "completed")
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
    assert "outcome refused: lease lost" in log
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_35_a_hanging_main_loop_ends_the_process_with_its_stacks(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("noop")
    with worker_process(dsn, fault="main_loop:hang@3", stall=1) as process:
        _, log = process.communicate(timeout=30)
        assert process.returncode == EXIT_STALLED
    assert "main loop stalled" in log
    assert "File" in log
    with WorkerThread(dsn, HANDLERS):
        wait_until(lambda: all_done(dsn))
    assert_invariants(dsn, tasks=1)


def test_35_the_service_managers_watchdog_is_fed_by_progress_only(dsn: str, tmp_path: Path) -> None:
    """A stand-in for the manager: it listens on NOTIFY_SOCKET and would kill when the pings stop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = str(tmp_path / "notify")
        manager.bind(path)
        manager.settimeout(30)
        heard: list[str] = []
        os.environ |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "900000"}
        try:
            with worker_process(dsn, fault="main_loop:hang@20", stall=60) as process:
                while "WATCHDOG=1\nSTATUS=working, 0 tasks held" not in heard:
                    heard.append(manager.recv(4096).decode())
                manager.settimeout(1.5)
                with pytest.raises(TimeoutError):
                    while True:
                        heard.append(manager.recv(4096).decode())
                process.kill()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
    assert heard[0] == "READY=1"
    assert_invariants(dsn)


def test_36_a_task_that_kills_its_process_dies_alone(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("abort")
    for _ in range(5):
        queue.enqueue("noop")
    deaths = 0
    while not all_done(dsn):
        with worker_process(dsn, batch=10) as process:
            wait_until(lambda process=process: process.poll() is not None or all_done(dsn))
            deaths += process.poll() == -signal.SIGABRT
    assert deaths == 3
    assert status_of(dsn, 1) == "dead"
    assert query(dsn, "SELECT DISTINCT status FROM jr_task_announcements WHERE task_id > 1") == [("completed",)]
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "rescued", "claimed", "dead"]
    assert_invariants(dsn, tasks=6)


def test_38_the_second_sigterm_ends_at_once_and_the_lease_does_the_rest(dsn: str, queue: TaskQueue) -> None:
    queue.enqueue("stubborn", {"seconds": 20})
    with worker_process(dsn) as process:
        wait_until(lambda: status_of(dsn, 1) == "in_progress")
        process.send_signal(signal.SIGTERM)
        lines = iter(process.stderr.readline, "")
        reader = threading.Thread(target=lambda: [None for _ in lines], daemon=True)
        reader.start()
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 128 + signal.SIGTERM
    with WorkerThread(dsn, {"stubborn": jobs.noop}):
        wait_until(lambda: status_of(dsn, 1) == "completed")
    assert events(dsn, 1) == ["claimed", "rescued", "claimed", "completed"]
    assert_invariants(dsn, tasks=1)


def test_40_two_processes_with_one_worker_id(dsn: str) -> None:
    name = ("--worker-id", "11111111-1111-1111-1111-111111111111")
    with worker_process(dsn, arguments=name) as first:
        wait_until(lambda: query(dsn, "SELECT count(*) FROM worker") == [(1,)])
        with worker_process(dsn, arguments=name, log_level="error") as second:
            _, log = second.communicate(timeout=30)
            assert second.returncode == 2
        assert first.poll() is None
    assert log == f"dbsafety_runtime executor: worker id {name[1]} is in use by a living process\n"
    assert_invariants(dsn)


def test_it_runs_from_any_directory(dsn: str, tmp_path: Path) -> None:
    environment = os.environ | {"DBSAFETY_EXECUTOR_DSN": dsn}
    command = [sys.executable, "-m", "dbsafety_runtime", "executor"]
    for words, expected in ((["run", "--once"], ""), (["enqueue", "x"], "1 new\n")):
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert tmp_path != ROOT
