"""The demo ends with 0 when all is as claimed, and with 1 and one sentence when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo import analysis, databases, run, show
from demo.incident import ROOT


@pytest.mark.prove
def test_the_whole_demo() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "demo" / "run.py"],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for claim in (
        "executor.py: 8 DBS101; orchestrator.py: 7 DBS201, 7 DBS204",
        "No findings in 2 files.",
        "of 13 failures 13 took the executor down before, 0 fixed",
        "all proven",
    ):
        assert claim in ran.stdout


def test_a_surprise_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(analysis, "EXPECTED", {"executor.py": {"DBS101": 9}, "orchestrator.py": {}})
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert run.main() == 1
    assert capsys.readouterr().err == (
        "demo: check finds executor.py: 8 DBS101; orchestrator.py: 7 DBS201, 7 DBS204; "
        "it should find executor.py: 9 DBS101; orchestrator.py: nothing\n"
    )


def test_a_missing_module_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "demo.show", None)
    monkeypatch.delattr(sys.modules["demo"], "show")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert run.main() == 1
    assert "`make demo` makes an environment that has it" in capsys.readouterr().err


def test_an_orchestrator_that_meets_another_error_is_a_surprise(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.py"
    file.write_text(
        "class Orchestrator:\n"
        "    def __init__(self, db_path, fix): self.file = open(db_path, 'x')\n"
        "    def run_cycle(self, issues): return [ValueError('odd')]\n"
    )
    with pytest.raises(show.Unexpected, match=r"the storm on orchestrator\.py failed: .*no such table: tasks"):
        databases.storm(file)
