"""Findings do not depend on the order in which files are checked, nor on what was checked before them."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dbsafety.check.module import check_module
from dbsafety.check.session import Session
from dbsafety.config.load import load
from dbsafety.model.finding import Confidence

FIXTURES = Path("tests/fixtures/rules")
CHECK = (sys.executable, "-m", "dbsafety", "check", "--isolated", "--min-confidence", "low")
Results = dict[str, str]


def checked(files: list[Path], *, alone: bool = False) -> Results:
    """What the whole catalogue says about each file; `alone`: as if it were the only file of the run."""
    session = Session.of(load(FIXTURES, isolated=True), [file.as_posix() for file in files])
    settings = replace(session.settings, min_confidence=Confidence.LOW)
    session = replace(session, codes=session.known, settings=settings)
    found: Results = {}
    for file in files:
        session = session.renewed() if alone else session
        result = check_module(file.read_bytes(), file.as_posix(), session, named=True)
        found[file.as_posix()] = repr((result.findings, result.notes, result.faults))
    return found


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """All fixtures of all rules: among them projects whose modules import one another."""
    return sorted(FIXTURES.rglob("*.py"))


def test_what_was_checked_before_changes_nothing(files: list[Path]) -> None:
    some = [file for file in files if file.parent.name != file.parts[3]]
    some.extend(sorted(Path("runtime/dbsafety_runtime/executor").glob("*.py")))
    assert len(some) > 20
    assert checked(some) == checked(some, alone=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_gives_the_same_findings(files: list[Path], seed: int) -> None:
    shuffled = random.Random(seed).sample(files, len(files))
    assert checked(shuffled) == checked(files)


def test_any_number_of_processes_gives_the_same_bytes() -> None:
    outputs = {
        jobs: subprocess.run(
            [*CHECK, f"-j{jobs}", "--output-format", "json", FIXTURES],
            capture_output=True,
            check=False,
        ).stdout
        for jobs in (1, 2, 3)
    }
    assert outputs[1].count(b'"code"') > 100
    assert outputs[1] == outputs[2] == outputs[3]


def test_a_changed_module_is_seen_by_those_that_import_it(tmp_path: Path) -> None:
    (tmp_path / "store.py").write_text("import sqlite3\n\ndef opened():\n    return sqlite3.connect('a.db')\n")
    user = tmp_path / "user.py"
    user.write_text(
        "import sqlite3\nimport store\n\ndef work():\n    conn = store.opened()\n    conn.execute('DELETE FROM t')\n"
        "    conn.close()\n"
    )
    path, other = user.as_posix(), (tmp_path / "store.py").as_posix()
    session = Session.of(load(tmp_path, isolated=True), [path])
    before = check_module(user.read_bytes(), path, session)
    assert [finding.code for finding in before.findings] == ["DBS204"]
    check_module(b"import sqlite3\n\ndef opened():\n    return None\n", other, session)
    assert check_module(user.read_bytes(), path, session).findings == ()
