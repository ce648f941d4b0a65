from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dbsafety_runtime.ops import log
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.assembly import orchestrator_of
from dbsafety_runtime.orchestrator.cli import main
from dbsafety_runtime.orchestrator.demo import outcome, settings_for
from dbsafety_runtime.orchestrator.fleet import Fleet
from dbsafety_runtime.orchestrator.localhub import LocalHub
from dbsafety_runtime.orchestrator.pages import page
from dbsafety_runtime.orchestrator.store import IncidentStore
from tests.runtime.lite.bench import Bench
from tests.runtime.lite.doubles import ScriptedManager

CASES = {
    "site": {"kind": "healthy"},
    "moved": {"kind": "moved-directory", "known": "git"},
    "script": {"kind": "moved-command", "known": "document"},
    "port": {"kind": "port-orphan"},
    "other": {"kind": "port-stranger", "known": "document"},
    "spool": {"kind": "missing-data", "known": "near"},
    "broken": {"kind": "never-existed"},
}
OUTCOME = {**dict.fromkeys(("moved", "script", "port", "other", "spool"), "repaired"), "broken": "escalated"}


@pytest.mark.xdist_group("fleet")
def test_a_real_supervisord_is_repaired_and_the_rest_escalated() -> None:
    fleet = Fleet()
    for name, case in CASES.items():
        fleet.build(name, case)
    fleet.save("All services")
    with LocalHub() as hub, fleet:
        # The memory limit is for a process of its own; this one holds the whole test suite.
        settings = replace(settings_for(fleet, hub), memory_limit_mb=100_000)
        work = orchestrator_of(settings, fleet.manager)
        work.refresh_knowledge()
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            work.cycle()
            if outcome(work) == OUTCOME:
                break
        states = {service.name: service.state for service in fleet.manager.services()}
        assert outcome(work) == OUTCOME
        assert states == {**dict.fromkeys(CASES, "running"), "broken": "failed"}
        assert [issue["title"] for issue in hub.issues] == ["path_invalid: broken"]
        assert ledger.verify(work.store.db)[1] == ()
        vendor = (fleet.conf / "moved.conf").read_text(encoding="utf-8")
        assert "srv/moved" in vendor, "the vendor's file is not touched"
        work.close()


def run_cli(*words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dbsafety_runtime", "orchestrator", *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=180, env={**os.environ, **(environ or {})}
    )


@pytest.mark.xdist_group("fleet")
def test_the_commands_around_a_running_orchestrator(tmp_path: Path) -> None:
    fleet = Fleet()
    fleet.build("broken", {"kind": "never-existed"})
    config = tmp_path / "c.toml"
    config.write_text(
        f"[orchestrator]\nstate = '{tmp_path}/state'\nsocket = '{fleet.socket}'\nprograms = '{fleet.conf}'\n"
        "interval = 0.2\ngrace = 0.2\npatience = 0.5\nsettle = 0.5\n",
        encoding="utf-8",
    )
    with fleet:
        command = [sys.executable, "-m", "dbsafety_runtime", "orchestrator", "--config", str(config), "run"]
        running = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            limit = time.monotonic() + 60
            while time.monotonic() < limit:
                status = run_cli("--config", str(config), "status", "--json")
                if status.returncode == 0 and "escalated" in status.stdout:
                    break
                time.sleep(0.2)
            (task,) = [t for t in json.loads(status.stdout)["open"] if t["status"] == "escalated"]
            assert (task["target"], task["type"], task["phase"]) == ("broken", "path_invalid", 4)
            assert run_cli("--config", str(config), "health").stdout == "healthy: all is well\n"
            second = run_cli("--config", str(config), "run")
            assert (second.returncode, "another orchestrator holds" in second.stderr) == (2, True)
            assert "Traceback" not in second.stderr
            paused = run_cli("--config", str(config), "pause")
            assert paused.stdout == "paused: everything\n"
            assert run_cli("--config", str(config), "health").returncode == 1
            rejected = run_cli("--config", str(config), "reject", str(task["id"]), "--reason", "to be removed")
            assert rejected.stdout == f"task {task['id']} closed\n"
        finally:
            running.send_signal(signal.SIGTERM)
            _, errors = running.communicate(timeout=20)
        assert running.returncode == 0, errors
        assert b"Traceback" not in errors
    audit = run_cli("--config", str(config), "verify-audit")
    assert (audit.returncode, audit.stdout.endswith("rows, complete\n")) == (0, True)
    report = run_cli("--config", str(config), "report", "--out", str(tmp_path / "r.html"))
    assert report.stdout == f"{tmp_path}/r.html\n"
    assert "rejected: to be removed" in (tmp_path / "r.html").read_text(encoding="utf-8")
    backup = run_cli("--config", str(config), "backup", str(tmp_path / "copy.db"))
    assert backup.returncode == 0
    copy = IncidentStore.init_database(tmp_path / "copy.db")
    assert ledger.verify(copy.db)[1] == ()
    copy.close_store()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status"], "there is no such database; `run` creates it"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["explain", "x"], "'x' is not a valid integer"),
        (["--config", "nowhere.toml", "status"], "nowhere.toml: cannot be read"),
        (["scan", "--once"], "supervisor.sock: [Errno 2] No such file or directory (services, ports, paths, stale)\n"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert sentence in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_an_unknown_manager_or_setting_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[orchestrator]\nmanager = 'initd'\n", encoding="utf-8")
    assert main(["--config", str(config), "scan", "--once"]) == 2
    assert capsys.readouterr().err == (
        "dbsafety_runtime orchestrator: there is no service manager 'initd': supervisord or systemd\n"
    )
    config.write_text("[orchestrator]\nmanger = 'systemd'\n", encoding="utf-8")
    assert main(["--config", str(config), "status"]) == 2
    assert "unknown setting orchestrator.manger" in capsys.readouterr().err


def test_issues_are_handed_in_and_stuck_tasks_freed_by_command(
    tmp_path: Path, manager: ScriptedManager, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verbs of the executor mean the same here: `enqueue` and `reset-stuck`."""
    bench = Bench(tmp_path, manager)
    capsys.readouterr()

    def command(*words: str) -> tuple[int, str]:
        code = main(["--state", str(bench.work.settings.state), *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert command("enqueue", "api", "disk of host 7 is slow", "--type", "alert") == (0, "1 new\n")
    assert command("enqueue", "api", "disk of host 8 is slow", "--type", "alert") == (0, "1 existing\n")
    task = bench.task("api")
    assert (task.issue.source, task.issue.type, task.occurrences) == ("operator", "alert", 2)
    bench.clock.tick(1000)
    assert len(bench.work.progress.claim(4, 120.0)) == 1
    code, text = command("reset-stuck")
    assert (code, "another orchestrator holds" in text) == (2, True)
    bench.close()
    capsys.readouterr()
    assert command("reset-stuck", "--dry-run") == (0, "task 1 is stuck\n")
    assert command("reset-stuck") == (0, "task 1 freed\n")
    assert command("reset-stuck") == (0, "")


def test_every_log_line_names_its_thread_and_steps_run_in_workers(
    tmp_path: Path, manager: ScriptedManager, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("json", "debug")
    manager.add("api")
    bench = Bench(tmp_path, manager)
    bench.run(10)
    bench.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all("thread_name" in line for line in lines)
    steps = {line["thread_name"] for line in lines if line["component"] == "worker"}
    assert steps
    assert steps <= {f"worker-{number}" for number in (1, 2, 3, 4)}


def test_what_is_written_down_is_logged_once_with_its_reason(
    tmp_path: Path, manager: ScriptedManager, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever watches the log of `run` sees what the audit trail gets; what an earlier run has done is not repeated."""
    log.configure("json", "info")
    manager.add("api")
    bench = Bench(tmp_path, manager, auto_fix=False)
    bench.run(15)
    bench.close()
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    said = [(line["event"], line["actor"], line["target"]) for line in told if "actor" in line]
    assert said == [
        ("detected", "services", "api"), ("diagnosing", "gate", "api"), ("escalated", "orchestrator", "api"),
    ]  # fmt: skip
    assert [line["why"] for line in told if "actor" in line][:2] == ["ended with status 1", "not transient"]
    again = Bench(tmp_path, manager, auto_fix=False)
    again.close()
    assert [line for line in capsys.readouterr().err.splitlines() if "actor" in line] == []


def test_status_says_what_waits_for_whom(
    tmp_path: Path, manager: ScriptedManager, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.add("api")
    bench = Bench(tmp_path, manager, auto_fix=False)
    bench.run(15)
    task = bench.task("api")
    assert page("status.txt", counts={"escalated": 1}, paused=True, tasks=[task], now=task.changed_at + 600) == (
        "1 escalated\n"
        "paused: nothing is repaired; `resume` ends it\n"
        "    1 escalated   for 10 min  api: ended with status 1\n"
        "escalated tasks wait for you: `explain ID` tells why, `approve ID` carries out the plan, "
        "`reject ID` closes them\n"
    )
    capsys.readouterr()
    assert main(["--state", str(bench.work.settings.state), "explain", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"task 1: service_failure on api, seen \d+ times, first 2027-01-15 08:00:00 UTC", lines[0])
    assert lines[-1] == "`approve 1` carries the plan out, `reject 1` closes the task"
    bench.close()


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in ("run", "scan", "status", "explain", "approve", "reject", "pause", "resume", "health", "report",
                 "verify-audit", "backup", "demo", "enqueue", "reset-stuck"):  # fmt: skip
        assert f"\n  {verb}" in text


def belonging_to(folder: Path) -> list[str]:
    """The processes that name a folder in their command line, and what is left in it."""
    processes = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in processes if f"{folder}/" in line] + [str(entry) for entry in folder.iterdir()]


@pytest.mark.xdist_group("fleet")
def test_a_killed_demonstration_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dbsafety_runtime", "orchestrator", "demo", "--out", os.devnull]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    with running:
        assert running.stdout is not None
        assert b"programs under a private supervisord" in running.stdout.readline()
        assert any("supervisor.supervisord" in line for line in belonging_to(tmp_path))
        running.kill()
    limit = time.monotonic() + 60
    while belonging_to(tmp_path) and time.monotonic() < limit:
        threading.Event().wait(0.05)
    assert belonging_to(tmp_path) == []


@pytest.mark.slow
def test_the_demonstration_ends_well(tmp_path: Path) -> None:
    done = run_cli("demo", "--out", str(tmp_path / "r.html"))
    assert done.returncode == 0, done.stdout
    assert "7 repaired, 2 escalated, website untouched" in done.stdout
