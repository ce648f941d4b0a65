"""The pre-commit hooks: the manifest is valid, and on a toy repository they say what the command line says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.harness.installs import Ran, must, run
from tests.harness.modules import ROOT

TOY = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
CLEAN = TOY.replace('"a.db"', '"a.db", timeout=30.0')
FINDING = re.compile(r"^(?:--> )?(\S+\.py:\d+:\d+).*?\b(DBS\d{3})\b", re.MULTILINE)


def test_the_manifest_is_valid() -> None:
    ran = run([sys.executable, "-m", "pre_commit", "validate-manifest", ".pre-commit-hooks.yaml"], ROOT)
    assert (ran.code, ran.out) == (0, "")


def test_our_own_configuration_is_valid() -> None:
    ran = run([sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"], ROOT)
    assert (ran.code, ran.out) == (0, "")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    (folder / "skipped").mkdir(parents=True)
    (folder / "toy.py").write_text(TOY, encoding="utf-8")
    (folder / "skipped" / "toy.py").write_text(TOY, encoding="utf-8")
    (folder / "pyproject.toml").write_text('[tool.dbsafety]\nextend-exclude = ["skipped"]\n', encoding="utf-8")
    must(["git", "init", "--quiet"], folder)
    must(["git", "add", "."], folder)
    return folder


def try_hook(hook: str, toy: Path, home: Path) -> Ran:
    """Run one hook of this repository as pre-commit does, in an environment that pre-commit builds."""
    command = [sys.executable, "-m", "pre_commit", "try-repo", ROOT, hook, "--all-files", "--verbose", "--color=never"]
    return run(command, toy, {"PRE_COMMIT_HOME": str(home)})


@pytest.mark.slow
def test_the_hooks_say_what_the_command_line_says(toy: Path, tmp_path: Path) -> None:
    plain = run([sys.executable, "-m", "dbsafety", "check"], toy)
    checked = try_hook("dbsafety", toy, tmp_path / "home")
    assert checked.code == 1, checked.out + checked.err
    assert FINDING.findall(plain.out) == [("toy.py:3:8", "DBS201")]
    assert FINDING.findall(checked.out) == FINDING.findall(plain.out)

    fixed = try_hook("dbsafety-fix", toy, tmp_path / "home")
    assert fixed.code == 1
    assert "files were modified by this hook" in fixed.out
    assert (toy / "toy.py").read_text(encoding="utf-8") == CLEAN
    assert (toy / "skipped" / "toy.py").read_text(encoding="utf-8") == TOY

    must(["git", "add", "."], toy)
    assert try_hook("dbsafety-fix", toy, tmp_path / "home").code == 0
    assert try_hook("dbsafety", toy, tmp_path / "home").code == 0
