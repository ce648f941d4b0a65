"""Texts of other modules."""

from __future__ import annotations

import ast

import pytest

from dbsafety.facts.imported import text_across
from dbsafety.facts.program import Program

FILES = {
    "/p/app/queries.py": 'TABLE = "item"\nADD = f"INSERT INTO {TABLE} VALUES (?)"\nTWICE = "a"\nTWICE = "b"\n',
    "/p/app/__init__.py": "",
    "/p/app/names.py": "from app.queries import ADD as KEPT\n",
}
USER = """
import os
import app.queries
from app import queries as q
from app.queries import ADD, TWICE, MISSING
from app.names import KEPT
from elsewhere import OTHER
LOCAL = "SELECT 1"
def run(name):
    return WANTED
"""


def text(expression: str) -> str | None:
    trees = {path: ast.parse(source) for path, source in FILES.items()}
    program = Program(("/p",), trees.get)
    index = program.take(ast.parse(USER.replace("WANTED", expression)), "/p/app/user.py")
    run = next(info for info in index.functions if info.qualname == "run")
    return text_across(run.returns[0].value, run.scope, program)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("LOCAL", "SELECT 1"),
        ("ADD", "INSERT INTO item VALUES (?)"),
        ("q.ADD", "INSERT INTO item VALUES (?)"),
        ("app.queries.ADD", "INSERT INTO item VALUES (?)"),
        ("TWICE", None),
        ("MISSING", None),
        ("KEPT", None),
        ("OTHER", None),
        ("os.sep", None),
        ("name", None),
        ("name.text", None),
        ("q", None),
    ],
)
def test_constants_of_other_modules(expression: str, expected: str | None) -> None:
    assert text(expression) == expected
