"""Settings, logs, notification, fault points: what both parts of the runtime stand on."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbsafety_runtime.__main__ import USAGE, main
from dbsafety_runtime.ops import faults, log, metrics, notify
from dbsafety_runtime.ops.faults import FaultInjected, FaultPlan
from dbsafety_runtime.ops.settings import SettingsError, describe, load


@dataclass(frozen=True, slots=True)
class Sample:
    dsn: str = ""
    ratio: float = 1.0
    count: int | None = None
    names: tuple[str, ...] = ()
    on: bool = True
    folder: Path | None = None


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file_and_given_values_over_both(tmp_path: Path) -> None:
    file = write(tmp_path, '[part]\nratio = 2\ncount = 3\nnames = ["a", "b c"]\non = false\nfolder = "/x"\ndsn = "d"')
    environ = {"DBSAFETY_PART_RATIO": "2.5", "DBSAFETY_PART_NAMES": "x, y", "DBSAFETY_PART_ON": "yes"}
    assert load(Sample, "part", file, environ, count=9, dsn=None) == Sample("d", 2.5, 9, ("x", "y"), True, Path("/x"))
    assert load(Sample, "part", None, {}) == Sample()


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("[part]\nratio = \n", {}, r"settings\.toml: not valid TOML: .*line 2"),
        ("part = 3", {}, r"settings\.toml: part must be a table"),
        ("[part]\nrattio = 1", {}, r"settings\.toml: unknown setting part\.rattio"),
        ("[part]\ncount = 'x'", {}, r"settings\.toml: part\.count: expected int, got 'x'"),
        ("[part]\ncount = true", {}, r"part\.count: expected int, got True"),
        ("[part]\non = 'perhaps'", {}, r"part\.on: expected true or false, got 'perhaps'"),
        ("[part]\nnames = [1]", {}, r"part\.names: expected a list of texts, got \[1\]"),
        ("", {"DBSAFETY_PART_RATIO": "fast"}, r"environment variable DBSAFETY_PART_RATIO: expected float, got 'fast'"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path: Path, text: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(Sample, "part", write(tmp_path, text), environ)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read: No such file"):
        load(Sample, "part", tmp_path / "none.toml", {})


def test_secrets_stay_out_of_logs(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(Sample(dsn="host=x password=y", count=1))["dsn"] == "***"
    assert log.redact("host=x password=s3cret user=y") == "host=x password=*** user=y"
    assert log.redact("password = 'a b' host=x") == "password = *** host=x"
    assert log.redact("postgresql://me:s3cret@host/db") == "postgresql://me:***@host/db"
    log.configure("json", "info", worker="w1")
    log.get("test").warning("lost", dsn="password=s3cret", number=3)
    line = json.loads(capsys.readouterr().err)
    assert (line["dsn"], line["number"], line["component"], line["worker"]) == ("password=***", 3, "test", "w1")
    assert re.fullmatch(r"[0-9T:.-]+Z", line["timestamp"])


@pytest.mark.parametrize("form", ["logfmt", "console"])
def test_other_log_forms(capsys: pytest.CaptureFixture[str], form: log.Format) -> None:
    log.configure(form, "warning")
    log.get("test").info("not shown")
    log.get("test").warning("shown", number=3)
    out = capsys.readouterr().err
    assert "not shown" not in out
    assert "shown" in out
    assert "number=3" in out


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"dbsafety-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", ("@" if abstract else "") + name)
        assert notify.notify("READY=1", "STATUS=fine")
        assert manager.recv(100) == b"READY=1\nSTATUS=fine"


def test_without_a_manager_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify.notify("READY=1")


@pytest.mark.parametrize(
    ("limit", "pid", "expected"),
    [("30000000", None, 30.0), ("30000000", "1", None), ("", None, None), ("x", None, None), ("500000", "own", 0.5)],
)
def test_the_watchdog_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str, pid: str | None, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid or "")
    assert notify.watchdog_seconds() == expected


def test_fault_points_do_nothing_until_planned_and_count_their_passes() -> None:
    plan = FaultPlan()
    plan.reach("point")
    plan.parse("point:raise@2, other:kill")
    plan.reach("point")
    with pytest.raises(FaultInjected):
        plan.reach("point")
    plan.reach("point")
    every: list[int] = []
    plan.add("often", lambda: every.append(1), 0)
    for _ in range(3):
        plan.reach("often")
    assert len(every) == 3
    plan.clear()
    plan.reach("point")
    with pytest.raises(ValueError, match="DBSAFETY_FAULT: unknown action 'explode' in 'point:explode'"):
        plan.parse("point:explode")


@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("abort", -6), ("exit", 1), ("raise", 1)])
def test_fault_actions_in_a_process(action: str, code: int) -> None:
    program = "from dbsafety_runtime.ops.faults import reach; reach('here'); print('went on')"
    environment = os.environ | {faults.VARIABLE: f"here:{action}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")


def test_metrics_are_served() -> None:
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics.serve(port)
    metrics.SETTLED.labels("completed").inc()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b'dbsafety_tasks_settled_total{status="completed"}' in answer.read()


@pytest.mark.parametrize(("words", "code"), [([], 2), (["worker"], 2), (["--help"], 0)])
def test_the_entry_point_names_its_parts(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    assert USAGE in "".join(capsys.readouterr())


@pytest.mark.parametrize("module", ["psycopg2", "click", "rich", "structlog", "prometheus_client"])
def test_a_missing_extra_is_one_line_and_code_2(module: str) -> None:
    program = f"""
import sys
sys.modules[{module!r}] = None
from dbsafety_runtime.__main__ import main
sys.exit(main(["executor", "health"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == f"dbsafety_runtime executor: the module {module} is missing: pip install 'dbsafety[runtime]'\n"
    )
