"""Modules are found below the roots that hold the importing file."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from dbsafety.facts.program import Program


def program(files: Mapping[str, str], *roots: str, everywhere: bool = False) -> Program:
    trees = {path: ast.parse(text) for path, text in files.items()}
    return Program(roots, trees.get, everywhere=everywhere)


def path_of(found: Program, dotted: str, near: str) -> str | None:
    index = found.module(dotted, near)
    return index.path if index is not None else None


TWO_PROJECTS = {"one/db.py": "", "one/app.py": "", "two/db.py": "", "two/app.py": ""}


def test_each_project_sees_its_own_module() -> None:
    both = program(TWO_PROJECTS, ".", "one", "two")
    assert path_of(both, "db", "one/app.py") == "one/db.py"
    assert path_of(both, "db", "two/app.py") == "two/db.py"


def test_a_module_of_another_project_is_not_found() -> None:
    both = program({"one/db.py": "", "two/app.py": ""}, ".", "one", "two")
    assert path_of(both, "db", "two/app.py") is None


def test_roots_the_user_names_count_for_every_file() -> None:
    both = program({"one/db.py": "", "two/app.py": ""}, "one", "two", everywhere=True)
    assert path_of(both, "db", "two/app.py") == "one/db.py"


def test_tests_see_the_src_folder_beside_them() -> None:
    layout = program({"src/pkg/__init__.py": "", "src/pkg/db.py": "", "tests/test_db.py": ""}, ".", "src", "tests")
    assert path_of(layout, "pkg.db", "tests/test_db.py") == "src/pkg/db.py"


def test_the_nearest_root_wins() -> None:
    nested = program({"db.py": "", "app/db.py": "", "app/main.py": ""}, ".", "app")
    assert path_of(nested, "db", "app/main.py") == "app/db.py"


def test_a_dotted_name_is_split_at_the_longest_module() -> None:
    index, rest = program({"pkg/__init__.py": "", "pkg/db.py": ""}, ".").split("pkg.db.connect", "app.py") or (None, ())
    assert index is not None
    assert (index.path, rest) == ("pkg/db.py", ("connect",))


def test_a_stub_is_read_where_there_is_no_source() -> None:
    stubbed = program({"native.pyi": "", "both.py": "", "both.pyi": "", "pkg/__init__.pyi": ""}, ".")
    assert path_of(stubbed, "native", "app.py") == "native.pyi"
    assert path_of(stubbed, "both", "app.py") == "both.py"
    assert path_of(stubbed, "pkg", "app.py") == "pkg/__init__.pyi"


def test_a_module_that_comes_later_is_found_then() -> None:
    growing = program({"app.py": ""}, ".")
    assert path_of(growing, "db", "app.py") is None
    assert growing.split("db.connect", "app.py") is None
    growing.take(ast.parse(""), "db.py")
    assert path_of(growing, "db", "app.py") == "db.py"
    index, rest = growing.split("db.connect", "app.py") or (None, ())
    assert index is not None
    assert rest == ("connect",)
    assert growing.generation == 1
