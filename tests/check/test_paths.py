"""Names of files and the roots of imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbsafety.check.paths import import_roots, in_project, shown


def test_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")

    assert shown("./b/../c.py") == "c.py"
    assert shown(tmp_path / "a" / "b" / "c.py") == "b/c.py"
    assert shown("../c.py") == (tmp_path / "c.py").as_posix()
    assert shown(".") == "."


def test_in_project(tmp_path: Path) -> None:
    assert in_project(tmp_path / "a" / "tests" / "b.py", tmp_path / "a") == "tests/b.py"
    assert in_project(tmp_path / "tests" / "b.py", tmp_path / "a") == "b.py"


def test_import_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "services" / "api" / "app" / "core"
    package.mkdir(parents=True)
    (tmp_path / "src").mkdir()
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)

    files = ["services/api/app/core/db.py", "services/api/app/core/x.py", "tools/run.py"]

    assert import_roots(tmp_path, (), files) == (".", "src", "services/api", "services", "tools")
    assert import_roots(tmp_path, ("lib", "."), files) == ("lib", ".")
