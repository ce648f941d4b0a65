"""The executor's commands, as an operator sees them: output, exit codes, and one clear line for every mistake."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dbsafety_runtime.executor import cli as cli_module
from dbsafety_runtime.executor import config, demo
from dbsafety_runtime.executor.cli import main
from dbsafety_runtime.executor.handlers import load
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from dbsafety_runtime.storage.errors import StorageBug
from tests.runtime.pg import jobs
from tests.runtime.pg.support import (
    JR,
    ROOT,
    WorkerThread,
    assert_invariants,
    events,
    query,
    status_of,
    wait_until,
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(dsn: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command on the test's database; gives code, standard output and error."""
    monkeypatch.setenv("DBSAFETY_EXECUTOR_DSN", dsn)
    monkeypatch.setenv("DBSAFETY_EXECUTOR_LOG_LEVEL", "error")
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return code, out, err

    yield command
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def test_enqueue_run_and_look(run: Run, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("enqueue", "noop", "--dedupe", "k", "--priority", "3") == (0, "1 new\n", "")
    assert run("enqueue", "noop", "--dedupe", "k") == (0, "1 existing\n", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": [1, "é"]}'))
    assert run("enqueue", "noop", "--payload", "-", "--group", "g", "--at", "+1h") == (0, "3 new\n", "")
    assert query(dsn, "SELECT payload, run_at > now() FROM jr_task_announcements WHERE task_id = 3") == [
        ({"a": [1, "é"]}, True)
    ]
    assert run("run", "--once", "--handlers", "tests.runtime.pg.jobs")[0] == 0
    assert status_of(dsn, 1) == "completed"
    code, out, _ = run("history", "1")
    assert code == 0
    assert [word for word in ("claimed", "completed") if word in out] == ["claimed", "completed"]
    code, out, _ = run("history", "1", "--json")
    assert [event["event"] for event in json.loads(out)] == ["claimed", "completed"]
    assert run("history", "99") == (1, "", "task 99 has no history\n")
    assert_invariants(dsn, tasks=2)


def test_status_shows_what_is_most_likely_stuck(run: Run, queue: TaskQueue, dsn: str) -> None:
    queue.enqueue("x")
    queue.enqueue("y")
    (task,) = queue.claim(1)
    queue.fail_task(task, ValueError("no [bold]good"), retry=False)
    queue.claim(1)
    query(dsn, "UPDATE jr_task_announcements SET lease_until = now() - interval '7 s' WHERE status = 'in_progress'")
    code, out, _ = run("status")
    assert code == 0
    assert all(text in out for text in (JR, "in_progress", "failed", "ValueError", "no [bold]good", "7."))
    seen = json.loads(run("status", "--json")[1])
    assert seen["counts"] == [[JR, "failed", 1], [JR, "in_progress", 1]]
    assert seen["stuck"] == 1
    assert 7 <= seen["lease_lag"] < 60


def test_status_refreshes_until_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_module, "time", SimpleNamespace(sleep=pause))
    assert run("status", "--watch", "0.5")[0] == 130
    assert pauses == [0.5] * 3


def test_health_is_healthy_degraded_or_down(run: Run, queue: TaskQueue, dsn: str) -> None:
    code, out, _ = run("health")
    assert (code, out.splitlines()[0]) == (2, "down: no living worker")
    assert json.loads(out.splitlines()[1]) == {"code": 2, "schema": 2, "reasons": ["no living worker"]}
    with WorkerThread(dsn, {"noop": jobs.noop}) as worker:
        wait_until(lambda: worker.worker._ready)
        assert run("health", "--assignee", JR)[:2] == (
            0, 'healthy: all good\n{"code": 0, "schema": 2, "reasons": []}\n',
        )  # fmt: skip
        assert run("health", "--assignee", "nobody")[0] == 2
        query(
            dsn, "INSERT INTO jr_task_announcements (kind, assignee, run_at) VALUES ('x', 'y', now() - interval '2 h')"
        )
        code, out, _ = run("health", "--max-due", "1h")
        assert (code, out[:31]) == (1, "degraded: a task has been due f")
        assert run("health", "--max-due", "3h")[0] == 0
    query(dsn, "INSERT INTO schema_migration VALUES (9, 'later', 'x', 9)")
    assert run("health")[:2][1].startswith("down: the database has schema 9, this program knows 2")


def test_health_counts_tasks_past_their_lease(run: Run, dsn: str) -> None:
    query(
        dsn,
        """INSERT INTO jr_task_announcements (kind, assignee, status, lease_owner, lease_until)
           VALUES ('x', 'y', 'in_progress', gen_random_uuid(), now() - interval '3 s')""",
    )
    assert "1 tasks past their lease, the longest for 3 s" in run("health")[1]


def test_health_of_a_server_that_is_away(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, out, _ = run("--dsn", "host=127.0.0.1 port=1 user=x", "health")
    assert (code, out[:36]) == (2, "down: database: connection to server")
    monkeypatch.delenv("DBSAFETY_EXECUTOR_DSN")
    code, out, _ = run("--data-dir", str(tmp_path / "none"), "health")
    assert code == 2
    assert out.startswith(f"down: no server runs in {tmp_path}/none: start `executor run` first, or give --dsn-service")


def test_reset_stuck_prints_ids_and_can_only_look(run: Run, queue: TaskQueue, dsn: str) -> None:
    for _ in range(2):
        queue.enqueue("x")
    queue.claim(2)
    assert run("reset-stuck") == (0, "", "0 stuck tasks reset\n")
    query(dsn, "UPDATE jr_task_announcements SET lease_until = now() - interval '1 s' WHERE task_id = 1")
    assert run("reset-stuck", "--dry-run") == (0, "1 stuck\n", "1 stuck tasks found\n")
    assert run("reset-stuck", "--older-than", "1d") == (0, "", "0 stuck tasks reset\n")
    assert run("reset-stuck", "--worker", str(queue.owner)) == (0, "1 assigned\n", "1 stuck tasks reset\n")
    assert run("reset-stuck", "--force", "2", "--force", "1") == (1, "2 handed back\n1 is not running\n", "")
    assert [events(dsn, task)[-1] for task in (1, 2)] == ["rescued", "forced"]
    assert run("reset-stuck", "--older-than", "soon")[2].splitlines()[-1] == (
        "Error: Invalid value for '--older-than': 'soon' is not a duration such as 30s, 5m, 2h, 1d"
    )
    assert_invariants(dsn, tasks=2)


def test_cancel_redrive_and_limit(run: Run, queue: TaskQueue, dsn: str) -> None:
    for _ in range(2):
        queue.enqueue("x")
    assert run("cancel", "1", "7") == (1, "1 cancelled\n7 unchanged: not waiting\n", "")
    queue.fail_task(queue.claim(1)[0], ValueError("x"), retry=False)
    assert run("redrive", "2") == (0, "2 assigned\n", "")
    assert run("limit", JR, "0")[0] == 0
    assert query(dsn, "SELECT * FROM assignee_limit") == [(JR, 0)]
    assert_invariants(dsn, tasks=2)


def test_migrate_and_its_check(run: Run, dsn: str) -> None:
    assert run("migrate", "--check") == (0, "schema 2\n", "")
    assert run("migrate") == (0, "schema 2\n", "")
    query(dsn, "DELETE FROM schema_migration WHERE version = 2")
    assert run("migrate", "--check") == (1, "", "the database has schema 1, this program needs 2: run migrate\n")


@pytest.mark.parametrize(
    "words",
    [
        ("enqueue", "x"),
        ("status",),
        ("reset-stuck",),
        ("redrive", "1"),
        ("cancel", "1"),
        ("history", "1"),
        ("limit", "x", "1"),
    ],
)
def test_a_database_without_the_schema_is_one_clear_line(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DBSAFETY_EXECUTOR_DSN", empty_dsn)
    message = "dbsafety_runtime executor: the database has schema 0, this program needs 2: run migrate\n"
    assert run(*words) == (2, "", message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("enqueue", "x", "--payload", "[" * 100_000), "the payload is not JSON: maximum recursion depth exceeded"),
        (("enqueue", "x", "--at", "+nan"), "use ISO 8601 or +30s"),
        (("enqueue", "x", "--at", "+1e300d"), "use ISO 8601 or +30s"),
        (("enqueue", "x", "--payload", "{bad"), "the payload is not JSON: Expecting property name"),
        (("enqueue", "x", "--payload", '"a\\u0000b"'), "the payload holds a NUL character"),
        (("enqueue", "x", "--at", "soon"), "Error: Invalid value for '--at': use ISO 8601 or +30s, +5m, +2h, +1d"),
        (("enqueue", "x", "--priority", "99999"), "99999 is not in the range"),
        (("--dsn", "host=x password=geheim", "status"), "a password in the command line is visible to everyone"),
        (("--dsn", "nonsense", "status"), "the DSN is not valid: invalid dsn"),
        (("--dsn", "host=127.0.0.1 port=1", "status"), "connection to server at"),
        (("--dsn-service", "no_such_service", "status"), 'definition of service "no_such_service" not found'),
        (("--config", "/no/such/file.toml", "status"), "/no/such/file.toml: cannot be read: No such file"),
        (("run", "--handlers", "no_such_module"), "No module named 'no_such_module'"),
        (("run", "--worker-id", "x"), "is not a valid UUID"),
        (("no-such-command",), "No such command 'no-such-command'"),
    ],
)
def test_mistakes_are_one_clear_line_and_code_2(run: Run, words: tuple[str, ...], message: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert "geheim" not in err


def test_times_that_cannot_work_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBSAFETY_EXECUTOR_HEARTBEAT", "20")
    assert run("run")[2] == (
        "dbsafety_runtime executor: executor settings: the lease (30.0 s) must last at least two heartbeats (20.0 s)\n"
    )
    monkeypatch.setenv("DBSAFETY_EXECUTOR_HEARTBEAT", "5")
    monkeypatch.setenv("DBSAFETY_EXECUTOR_POLL", "0")
    assert "must be positive" in run("run")[2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CONCURRENCY", "0", "concurrency and batch must be at least 1"),
        ("BATCH", "0", "concurrency and batch must be at least 1"),
        ("STATEMENT_TIMEOUT", "-1", "statement_timeout and lock_timeout must be above 0 and at most 86400 s"),
        ("LOCK_TIMEOUT", "nan", "statement_timeout and lock_timeout must be above 0 and at most 86400 s"),
        ("METRICS_PORT", "99999", "metrics_port must be at most 65535, not 99999"),
        (
            "LOG_LEVEL",
            "loud",
            "log_level must be one of debug, info, warning, error, log_format of json, logfmt, console",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"DBSAFETY_EXECUTOR_{name}", value)
    assert run("run", "--once") == (2, "", f"dbsafety_runtime executor: executor settings: {message}\n")


def test_a_server_that_is_down_at_the_start_is_waited_for(
    run: Run, server: EmbeddedPostgres, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBSAFETY_EXECUTOR_DSN", "host=127.0.0.1 port=1 user=x dbname=y")
    monkeypatch.setenv("DBSAFETY_EXECUTOR_START_WAIT", "0.5")
    code, _, err = run("run")
    assert (code, "Connection refused" in err) == (2, True)


def test_our_bug_is_code_70(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StorageBug("column does not exist", "42703")

    monkeypatch.setattr(cli_module.inspect, "status", broken)
    code, _, err = run("status")
    assert code == 70
    assert "bug: ending the process" in err


def test_a_newer_schema_stops_the_start(run: Run, dsn: str) -> None:
    query(dsn, "INSERT INTO schema_migration VALUES (9, 'later', 'x', 9)")
    assert run("run")[2].endswith("the database has schema 9, this program knows 2: upgrade the program\n")


def test_settings_come_from_toml(run: Run, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBSAFETY_EXECUTOR_DSN")
    file = tmp_path / "x.toml"
    file.write_text(
        f'[executor]\ndsn = "{dsn}"\nassignee = "from the file"\nhandlers = ["tests.runtime.pg.jobs"]\n'
        'shell_allow = ["/bin/echo"]\nbatch = 3\n'
    )
    assert run("--config", str(file), "enqueue", "shell", "--payload", '{"argv": ["/bin/echo", "hello"]}')[0] == 0
    assert run("--config", str(file), "run", "--once")[0] == 0
    assert query(dsn, "SELECT assignee, status, result FROM jr_task_announcements") == [
        ("from the file", "completed", {"code": 0, "output": "hello\n"})
    ]


def test_a_service_file_names_the_database(run: Run, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBSAFETY_EXECUTOR_DSN")
    (tmp_path / "services").write_text("[taskdb]\n" + dsn.replace(" ", "\n") + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert run("--dsn-service", "taskdb", "migrate", "--check") == (0, "schema 2\n", "")


def test_without_a_dsn_a_private_server_is_started_and_shared(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DBSAFETY_")}
    environment |= {"STATE_DIRECTORY": str(tmp_path), "DBSAFETY_EXECUTOR_LOG_LEVEL": "error", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dbsafety_runtime", "executor"]

    def look(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)

    with subprocess.Popen([*command, "run", "--handlers", "tests.runtime.pg.jobs"], env=environment) as process:
        try:
            wait_until(lambda: look("health").returncode == 0)
            assert look("enqueue", "noop").stdout == "1 new\n"
            wait_until(lambda: '"completed", 1' in look("status", "--json").stdout)
        finally:
            process.terminate()
        assert process.wait(30) == 0
    assert (tmp_path / "postgres" / "PG_VERSION").exists()


def test_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert config.state_dir() == Path("/var/lib/a")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert config.state_dir() == Path("/xdg/dbsafety")


def test_handlers_come_from_entry_points_and_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "installed"

        @staticmethod
        def load() -> object:
            return jobs.noop

    monkeypatch.setattr("dbsafety_runtime.executor.handlers.entry_points", lambda group: [Point()])
    found = load(["tests.runtime.pg.jobs"])
    assert found["installed"] is found["noop"] is jobs.noop
    assert "abort" in found


def test_the_metrics_port(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    monkeypatch.setattr(cli_module.metrics, "serve", opened.append)
    monkeypatch.setenv("DBSAFETY_EXECUTOR_METRICS_PORT", "9187")
    assert run("run", "--once")[0] == 0
    assert opened == [9187]


def test_the_demonstration_proves_the_invariants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--tasks", "60"]) == 0
    out = capsys.readouterr().out
    assert [line[:8] for line in out.splitlines() if line.startswith("I")] == [f"I{n} holds" for n in range(1, 8)]
    assert "completed: 60 tasks in 60 attempts" in out


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2])
def test_the_demonstration_with_faults(capsys: pytest.CaptureFixture[str], seed: int) -> None:
    started = time.monotonic()
    assert main(["demo", "--faults", "--seed", str(seed)]) == 0
    assert time.monotonic() - started < 120
    out = capsys.readouterr().out
    assert "effects 1000, double 0" in out


def test_the_demonstration_says_what_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "LIMIT_SECONDS", 0.0)
    monkeypatch.setattr(demo, "WORKERS", 1)
    assert main(["demo", "--tasks", "5"]) == 1
    out = capsys.readouterr().out
    assert "I4 BROKEN: the next operation succeeds; tasks were still open at the end of the time" in out
    assert "NOT proven: I2, I4" in out
