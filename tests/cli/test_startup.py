"""What a plain `check` imports: nothing that costs time or that only other commands need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN = {"libcst", "astroid", "pylint", "flake8", "multiprocessing", "yaml", "sqlparse"}
DRIVERS = {"psycopg2", "psycopg", "psycopg_pool", "sqlite3", "_sqlite3", "asyncpg", "aiosqlite", "sqlalchemy", "django"}
SOURCE = """\
import sqlite3

import psycopg2


def load(sql):
    conn = sqlite3.connect("a.db")
    return conn.execute(sql)
"""


def imported(folder: Path, *words: str) -> tuple[int, set[str]]:
    command = [sys.executable, "-X", "importtime", "-m", "dbsafety", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return done.returncode, {line.rsplit("|", 1)[1].strip() for line in lines}


@pytest.mark.parametrize(
    "words", [("check", "a.py"), ("check", "."), ("rules",), ("explain", "DBS001"), ("check", "-q")]
)
def test_no_heavy_imports(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "a.py").write_text(SOURCE, encoding="utf-8")

    code, modules = imported(tmp_path, *words)

    assert code == (1 if words[0] == "check" else 0)
    assert "dbsafety.cli.main" in modules
    assert {name for name in modules if name.split(".")[0] in FOREIGN | DRIVERS} == set()
    assert "concurrent.futures.process" not in modules


def test_sqlparse_is_imported_once_there_is_sql_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "b.py").write_text(SOURCE.replace("execute(sql)", 'execute("SELECT 1")'), encoding="utf-8")

    assert "sqlparse" not in imported(tmp_path, "check", "a.py")[1]
    assert "sqlparse" in imported(tmp_path, "check", "b.py")[1]


def test_flake8_does_without_sqlparse_where_there_is_no_sql(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE, encoding="utf-8")
    command = [sys.executable, "-X", "importtime", "-m", "flake8", "--isolated", "--select=DBS", "-j1", "a.py"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "dbsafety.adapters.host" in done.stderr
    assert "sqlparse" not in done.stderr


def test_fix_without_anything_to_fix_does_without_libcst(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sqlite3\n", encoding="utf-8")

    code, modules = imported(tmp_path, "fix", "a.py")

    assert code == 0
    assert not any(name.split(".")[0] == "libcst" for name in modules)


def test_the_package_itself_is_light() -> None:
    code = "import sys, dbsafety; print(sorted(name for name in sys.modules if name.startswith('dbsafety')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "['dbsafety']\n"
