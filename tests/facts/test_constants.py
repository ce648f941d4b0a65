"""The text of an expression as far as it is written down."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from dbsafety.facts.constants import text_of
from dbsafety.facts.gather import gather

MODULE = """
TABLE = "item"
QUERY = "SELECT * FROM " + TABLE
EITHER = "SELECT 1" if TABLE else "SELECT 1"
TWICE = "SELECT 1"
TWICE = "SELECT 2"
MIXED = "SELECT 1"
MIXED = "DELETE FROM item"
for each in ("a", "b"):
    pass

class Store:
    INSERT = "INSERT INTO item VALUES (?)"
    def add(self, name):
        return WANTED
"""


def text_in_method(expression: str) -> str | None:
    """The text of `expression` where the method of the module above returns it."""
    index = gather(ast.parse(dedent(MODULE).replace("WANTED", expression)), "m.py", "m")
    method = next(info for info in index.functions if info.qualname == "Store.add")
    return text_of(method.returns[0].value, method.scope)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ('"DELETE " "FROM item"', "DELETE FROM item"),
        ('b"DELETE"', "DELETE"),
        ("TABLE", "item"),
        ("QUERY", "SELECT * FROM item"),
        ("EITHER", "SELECT 1"),
        ("TWICE", "SELECT {}"),
        ("MIXED", None),
        ("each", None),
        ("name", None),
        ("nowhere", None),
        ('f"DROP TABLE {TABLE}"', "DROP TABLE item"),
        ('f"DROP TABLE {name}"', "DROP TABLE {}"),
        ('"SELECT " + name', "SELECT {}"),
        ("name + name", None),
        ('"SELECT %s" % name', "SELECT %s"),
        ('"SELECT {}".format(name)', "SELECT {}"),
        ('" SELECT 1 ".strip()', " SELECT 1 "),
        ('sql.SQL("SELECT {}").format(name)', "SELECT {}"),
        ('textwrap.dedent("SELECT 1")', "SELECT 1"),
        ("self.INSERT", "INSERT INTO item VALUES (?)"),
        ("self.other", None),
        ("build(name)", None),
        ("17", None),
    ],
)
def test_texts(expression: str, text: str | None) -> None:
    assert text_in_method(expression) == text


def test_long_sums_are_left_alone() -> None:
    assert text_in_method(" + ".join(['"a"'] * 150)) == "a" * 150
    assert text_in_method(" + ".join(['"a"'] * 250)) is None
