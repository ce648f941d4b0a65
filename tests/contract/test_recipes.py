"""The recipes of docs/integrations.md, taken from the page and run on a toy repository."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.installs import OURS, Ran, run
from tests.harness.modules import ROOT

TOY = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
INSTALL = "pip install dbsafety"
RECIPES = dict(
    re.findall(
        r"^<!-- recipe: ([\w-]+) -->\n```\w+\n(.*?)^```$",
        (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "toy.py").write_text(TOY, encoding="utf-8")
    return tmp_path


def shell(line: str, cwd: Path, text: str = "") -> Ran:
    """Run one line of a recipe with the programs of the test environment; its installation is that of the tests."""
    path = os.pathsep.join([str(OURS.program("x").parent), os.environ["PATH"]])
    command = shlex.split(line)
    program = OURS.program(command[0])
    return run([program if program.exists() else command[0], *command[1:]], cwd, {"PATH": path}, text)


def test_there_is_a_recipe_for_each_face() -> None:
    faces = {"github", "github-sarif", "gitlab", "pre-commit", "flake8", "pylint", "ruff", "editor", "python"}
    assert set(RECIPES) == faces


def github_steps(name: str) -> list[str]:
    document = yaml.safe_load(RECIPES[name])
    steps = document["jobs"]["dbsafety"]["steps"]
    assert [key for key in document if key is not True] == ["name", "permissions", "jobs"]  # YAML reads `on` as true
    assert all(("uses" in step) != ("run" in step) for step in steps)
    return [step["run"] for step in steps if "run" in step]


def test_github(toy: Path) -> None:
    install, check = github_steps("github")
    assert install == INSTALL
    ran = shell(check, toy)
    assert ran.code == 1
    assert re.match(r"::(warning|error) file=src/toy\.py,line=3,", ran.out)


def test_github_code_scanning(toy: Path) -> None:
    install, check = github_steps("github-sarif")
    assert install == INSTALL
    assert shell(check, toy).code == 0
    sarif = json.loads((toy / "dbsafety.sarif").read_text(encoding="utf-8"))
    assert sarif["version"] == "2.1.0"
    assert [result["ruleId"] for result in sarif["runs"][0]["results"]] == ["DBS201"]
    upload = yaml.safe_load(RECIPES["github-sarif"])["jobs"]["dbsafety"]["steps"][-1]
    assert upload["with"]["sarif_file"] == "dbsafety.sarif"


def test_gitlab(toy: Path) -> None:
    job = yaml.safe_load(RECIPES["gitlab"])["dbsafety"]
    install, *checks = job["script"]
    assert install == INSTALL
    ran = [shell(line, toy) for line in checks]
    assert [one.code for one in ran] == [0, 1]
    (report,) = json.loads((toy / job["artifacts"]["reports"]["codequality"]).read_text(encoding="utf-8"))
    assert (report["check_name"], report["location"]["path"]) == ("DBS201", "src/toy.py")
    assert ran[1].out.startswith("src/toy.py:3:8: DBS201 ")


def test_pre_commit_names_the_hooks_there_are() -> None:
    offered = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    (repository,) = yaml.safe_load(RECIPES["pre-commit"])["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == ["dbsafety-fix", "dbsafety"]
    assert {hook["id"] for hook in repository["hooks"]} <= {hook["id"] for hook in offered}


@pytest.mark.parametrize(("face", "text"), [("flake8", "toy.py:3:8: DBS201 "), ("pylint", "toy.py:3:7: W57")])
def test_plugins(face: str, text: str, toy: Path) -> None:
    (line,) = RECIPES[face].splitlines()
    ran = shell(line.removeprefix("$ "), toy)
    assert ran.code != 0
    assert text in ran.out, ran.err


def test_editor(toy: Path) -> None:
    (line,) = RECIPES["editor"].splitlines()
    ran = shell(line.removeprefix("$ "), toy, TOY.replace("a.db", "b.db"))
    assert ran.code == 1
    assert re.fullmatch(r"src/toy\.py:3:8: DBS201 .*\n", ran.out)


def test_ruff_keeps_our_codes(toy: Path) -> None:
    (toy / "src" / "toy.py").write_text(TOY.replace(")\n", ")  # noqa: DBS201\n"), encoding="utf-8")
    check = "ruff check --isolated --preview --select RUF102 src"
    assert "`# noqa`: DBS201" in shell(check, toy).out
    (toy / "pyproject.toml").write_text(RECIPES["ruff"], encoding="utf-8")
    assert shell(check.replace("--isolated ", ""), toy).code == 0


def test_python(toy: Path) -> None:
    ran = run([sys.executable, "-c", RECIPES["python"]], toy)
    assert ran.out.startswith("DBS201 2 ")
