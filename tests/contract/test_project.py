"""The project's own files: what the README promises first, pinned actions, one list of Python versions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.installs import run
from tests.harness.modules import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def test_the_readme_begins_with_demo_and_test() -> None:
    commands = re.findall(r"^\$ (.+?)\s*(?:#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash_with_their_version(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    uses = [line.strip().removeprefix("- ") for line in text.splitlines() if "uses:" in line]
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_ci_tests_the_versions_the_classifiers_name() -> None:
    classified = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert ci["jobs"]["test"]["strategy"]["matrix"]["python"] == classified


def test_every_target_that_ci_runs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    (steps,) = re.findall(r"^for step in (.+); do$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert steps.split()[0] == "test"
    assert set(steps.split()) <= targets


@pytest.mark.skipif(os.name == "nt", reason="the set-up script is for POSIX shells; Windows installs with pip")
def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    shell = subprocess.run(
        ["/bin/sh", "-c", "command -v sh"], capture_output=True, text=True, check=True
    ).stdout.strip()
    script = (ROOT / ".ci" / "venv").as_posix()
    ran = run([shell, script, "no-such-python", tmp_path / "venv"], tmp_path, {"PATH": str(tmp_path)})
    assert ran.code == 2
    assert ran.err == "dbsafety needs Python 3.10 or newer; none found. Name one: make PYTHON=/path/to/python3\n"


def test_towncrier_knows_the_kinds_of_changes() -> None:
    kinds = {one["directory"] for one in PROJECT["tool"]["towncrier"]["type"]}
    assert kinds == {"rule", "feature", "false-alarm", "missed-alarm", "fix", "docs", "runtime"}
