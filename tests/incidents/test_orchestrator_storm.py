"""The orchestrator on real SQLite: 24 issues, 10 distinct, 4 threads, exceptions kept, on each Python found here.

What keeps the file locked is the failed transaction of the first duplicate, not a wait that is too short.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from demo.incident import INCIDENTS, ORCHESTRATOR, ORCHESTRATOR_PATCHED, ROOT, copy_incident, dbsafety, or_ignore_only
from demo.storm import CALLS, DISTINCT, issues, load
from tests.incidents.pythons import pythons

DUPLICATES = CALLS - DISTINCT
FASTER = "100"
PYTHONS = pythons()
each_python = pytest.mark.parametrize("python", PYTHONS.values(), ids=list(PYTHONS))


def storm(python: Path, file: Path) -> Mapping[str, Any]:
    """The counts of a storm on the file, in a process of its own."""
    ran = subprocess.run(
        [python, ROOT / "demo" / "storm.py", file, FASTER], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    result: Mapping[str, Any] = json.loads(ran.stdout)
    assert result["other"] == []
    return result


def partly_fixed(folder: Path, *options: str) -> Path:
    """A copy of the orchestrator under some of the fixes."""
    copy_incident(folder, [ORCHESTRATOR])
    ran = dbsafety(folder, "fix", *options, ".")
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    return folder / ORCHESTRATOR


@each_python
def test_before(python: Path, originals: Path) -> None:
    result = storm(python, originals / ORCHESTRATOR)
    assert result["unique"] >= 1
    assert result["locked"] > 0


@each_python
def test_the_longer_timeout_alone_does_not_cure_it(python: Path, tmp_path: Path) -> None:
    file = partly_fixed(tmp_path, "--select", "DBS201")
    assert file.read_text().count("timeout=30.0") == 7
    assert storm(python, file)["locked"] > 0


@each_python
def test_or_ignore_alone_avoids_the_error_that_starts_it(python: Path, tmp_path: Path) -> None:
    file = tmp_path / ORCHESTRATOR
    file.write_text(or_ignore_only())
    result = storm(python, file)
    assert (result["unique"], result["locked"], result["rows"]) == (0, 0, DISTINCT)


@each_python
def test_ending_the_transaction_alone_cures_it(python: Path, tmp_path: Path) -> None:
    file = partly_fixed(tmp_path, "--unsafe-fixes", "--select", "DBS204")
    assert "timeout" not in file.read_text()
    result = storm(python, file)
    assert (result["unique"], result["locked"], result["rows"]) == (DUPLICATES, 0, DISTINCT)


@each_python
def test_fixed(python: Path, fixed: Path) -> None:
    result = storm(python, fixed / ORCHESTRATOR)
    assert (result["unique"], result["locked"], result["rows"]) == (DUPLICATES, 0, DISTINCT)


def test_the_reports_own_repair_fixed(fixed: Path) -> None:
    result = storm(Path(sys.executable), fixed / ORCHESTRATOR_PATCHED)
    assert (result["unique"], result["locked"], result["rows"]) == (0, 0, DISTINCT)


def test_lastrowid_took_old_for_new_and_rowcount_does_not(fixed: Path, tmp_path: Path) -> None:
    """On a connection that has inserted before, as one kept for several calls has."""
    found = {}
    for name, folder in (("repaired", INCIDENTS), ("fixed", fixed)):
        module = load(folder / ORCHESTRATOR_PATCHED)
        with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.db", timeout=5.0)) as conn:
            vars(module)["sqlite3"] = OneConnection(conn)
            orchestrator = module.Orchestrator("", lambda issue: False)
            found[name] = [orchestrator.create_task(issue["message"], issue) for issue in (*issues()[:3], issues()[0])]
    assert found == {"repaired": [1, 2, 3, 3], "fixed": [1, 2, 3, 1]}


class OneConnection:
    """Stands for the module `sqlite3` where a connection is kept: opens the same one again and again."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def connect(self, database: str, timeout: float) -> OneConnection:
        return self

    def close(self) -> None:
        """It is kept."""

    def __enter__(self) -> sqlite3.Connection:
        return self._conn.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._conn.__exit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)
