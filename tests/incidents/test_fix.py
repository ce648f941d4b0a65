"""`dbsafety fix` on the code of both incidents, before and after their own repair: clean, and nothing left to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from demo.incident import EXECUTOR, ORCHESTRATOR, dbsafety

SEVEN = {
    "init_database",
    "task_exists",
    "get_task_status",
    "create_task",
    "update_task_github",
    "update_task_fix_attempt",
    "close_task",
}


def test_check_is_clean_after_fix(fixed: Path) -> None:
    ran = dbsafety(fixed, "check", ".")
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stdout + ran.stderr


def test_a_second_fix_changes_nothing(fixed: Path) -> None:
    before = {path.name: path.read_bytes() for path in fixed.glob("*.py")}
    assert len(before) == 4
    ran = dbsafety(fixed, "fix", "--unsafe-fixes", "--exit-non-zero-on-fix", ".")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {path.name: path.read_bytes() for path in fixed.glob("*.py")} == before


def test_without_consent_only_the_safe_fix_is_applied(originals: Path, tmp_path: Path) -> None:
    for name in (EXECUTOR, ORCHESTRATOR):
        (tmp_path / name).write_bytes((originals / name).read_bytes())
    assert dbsafety(tmp_path, "fix", ".").returncode == 1
    assert (tmp_path / EXECUTOR).read_bytes() == (originals / EXECUTOR).read_bytes()
    assert (tmp_path / ORCHESTRATOR).read_text().count("sqlite3.connect(self.db_path, timeout=30.0)") == 7


@pytest.mark.parametrize("method", sorted(SEVEN))
def test_each_connection_ends_its_transaction_and_is_closed(fixed: Path, method: str) -> None:
    tree = ast.parse((fixed / ORCHESTRATOR).read_text())
    (function,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == method)
    headers = [ast.unparse(item) for node in ast.walk(function) if isinstance(node, ast.With) for item in node.items]
    assert headers == ["self.db_lock", "closing(sqlite3.connect(self.db_path, timeout=30.0)) as conn", "conn"]


def test_each_handler_rolls_back_first(fixed: Path) -> None:
    tree = ast.parse((fixed / EXECUTOR).read_text())
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name == "e"]
    swallowing = [node for node in handlers if isinstance(node.type, ast.Name) and node.type.id == "Exception"]
    assert len(swallowing) == 8
    for handler in swallowing:
        assert "conn.rollback()" in ast.unparse(handler.body[0])
