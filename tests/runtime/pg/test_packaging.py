"""The unit, the start script and the example settings that ship with the executor."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path

from dbsafety_runtime.executor.config import Settings
from dbsafety_runtime.ops.settings import load
from tests.runtime.pg.support import query, wait_until

FOLDER = resources.files("dbsafety_runtime") / "packaging"
UNIT = "dbsafety-executor@.service"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((FOLDER / UNIT).read_text())
    return parser


def test_the_unit_notifies_is_watched_and_gives_up_after_five_failures() -> None:
    service, start = unit()["Service"], unit()["Unit"]
    assert (service["Type"], service["Restart"], service["WatchdogSec"]) == ("notify", "on-failure", "30")
    assert (start["StartLimitIntervalSec"], start["StartLimitBurst"]) == ("60", "5")
    assert float(service["TimeoutStopSec"]) > Settings().grace + 2 * 2 + 2
    assert shlex.split(service["ExecStart"])[-1] == "--assignee=%I"
    hardening = ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID", "DynamicUser")
    assert [service[name] for name in hardening] == ["yes"] * len(hardening)


def test_systemd_itself_accepts_the_unit(tmp_path: Path) -> None:
    """On a machine with systemd's tools; elsewhere the test above is what there is."""
    python = tmp_path / "python"  # by a name without blanks, which a unit would have to quote
    python.symlink_to(sys.executable)
    text = (FOLDER / UNIT).read_text().replace("/opt/dbsafety/venv/bin/python", str(python))
    path = tmp_path / UNIT.replace("@", "@test")
    path.write_text(text)
    tool = shutil.which("systemd-analyze")
    if tool is not None:
        command = [tool, "verify", "--man=no", "--recursive-errors=no", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        complaints = [line for line in done.stderr.splitlines() if path.name in line]
        assert (done.returncode, complaints) == (0, [])


def test_the_start_script_keeps_names_whole_and_the_process_id(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "services").write_text("[taskdb]\n" + dsn.replace(" ", "\n") + "\n")
    environment = os.environ | {"PGSERVICEFILE": str(tmp_path / "services"), "DBSAFETY_PYTHON": sys.executable}
    command = ["sh", str(FOLDER / "start-executor.sh"), "Infrastructure Jr.", "taskdb"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: query(dsn, "SELECT 1 FROM worker"))
            assert query(dsn, "SELECT assignee, pid FROM worker") == [("Infrastructure Jr.", process.pid)]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    done = subprocess.run(command[:3], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:6]) == (2, "usage:")


def test_the_example_settings_are_the_defaults() -> None:
    with resources.as_file(FOLDER / "executor.toml") as path:
        assert load(Settings, "executor", path, {}) == Settings()
