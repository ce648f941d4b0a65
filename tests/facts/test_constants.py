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
    def __init__(self):
        self.query = QUERY + " WHERE id = ?"
        self.twice = "SELECT 1"
        self.grown = "SELECT 1"
        self.grown += " FROM item"
    def change(self):
        self.twice = "SELECT 2"
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
        ('"SELECT %s" % name', "SELECT {}"),
        ('"SELECT %s, %d, %%s FROM %s" % (name, 7, TABLE)', "SELECT {}, {}, %s FROM item"),
        ('"SELECT %s FROM %s" % pair', "SELECT {} FROM {}"),
        ('"SELECT %(a)s FROM %(t)-10s" % {"a": TABLE, "t": TABLE}', "SELECT item FROM item"),
        ('"SELECT %(a)s FROM %(t)s" % names', "SELECT {} FROM {}"),
        ('QUERY % name + " LIMIT 1"', "SELECT * FROM item LIMIT 1"),
        ('"SELECT {}".format(name)', "SELECT {}"),
        ('" SELECT 1 ".strip()', " SELECT 1 "),
        ('"SELECT {} FROM {}".format(name, TABLE)', "SELECT {} FROM item"),
        ('"SELECT {1} FROM {0}, {x!r}, {{}}".format(TABLE, name, x=TABLE)', "SELECT {} FROM item, {}, {}"),
        ('"SELECT {a} FROM {t}".format(t=TABLE, **others)', "SELECT {} FROM item"),
        ('"SELECT {} FROM {}".format(TABLE, *others)', "SELECT {} FROM {}"),
        ('("{} ".format(name) + "FROM {}").format(TABLE)', "{} FROM {}"),
        ('sql.SQL("SELECT {}").format(name)', "SELECT {}"),
        (
            'sql.SQL("SELECT * FROM {} WHERE {} = {}").format(sql.Identifier("a", TABLE), sql.Identifier(name), lit)',
            'SELECT * FROM "a"."item" WHERE "{}" = {}',
        ),
        ('sql.SQL("VALUES ({}, {p})").format(sql.Literal(1), p=sql.Placeholder())', "VALUES (%s, %s)"),
        ('sql.Composed([sql.SQL("SELECT * FROM "), sql.Identifier("t"), name])', 'SELECT * FROM "t"{}'),
        ('" ".join(["SELECT", name, "FROM", TABLE])', "SELECT {} FROM item"),
        ('sql.SQL(", ").join(columns)', None),
        ('str("SELECT * FROM " "item")', "SELECT * FROM item"),
        ("str(name)", None),
        ('str(b"SELECT 1", "ascii")', None),
        ('f"SELECT {1} FROM {TABLE!s}"', "SELECT {} FROM item"),
        ('textwrap.dedent("SELECT 1")', "SELECT 1"),
        ("self.INSERT", "INSERT INTO item VALUES (?)"),
        ("self.query", "SELECT * FROM item WHERE id = ?"),
        ("self.twice", None),
        ("self.grown", None),
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


FLOW = """
def run(name):
    sql = "SELECT 1 FROM item"
    first = use(sql)
    sql = "INSERT INTO item"
    sql += " (name)"
    sql += name
    second = use(sql)
    if name:
        sql = "DELETE FROM item"
        third = use(sql)
    fourth = use(sql)

def grow(name):
    sql = "SELECT 2"
    if name:
        sql += " WHERE x"
    use(sql)
    def inner():
        return use(sql)
"""


def test_the_text_of_a_name_is_what_it_is_bound_to_where_it_stands() -> None:
    index = gather(ast.parse(FLOW), "m.py", "m")
    calls = [(call, info.scope) for info in index.functions for call in info.calls]
    uses = [pair for pair in calls if isinstance(pair[0].func, ast.Name) and pair[0].func.id == "use"]

    assert [text_of(call.args[0], scope) for call, scope in sorted(uses, key=lambda pair: pair[0].lineno)] == [
        "SELECT 1 FROM item",
        "INSERT INTO item (name){}",
        "DELETE FROM item",
        None,
        "SELECT 2 {}",
        "SELECT 2 {}",
    ]


def test_a_chain_of_conditional_changes_of_one_name_takes_bounded_work() -> None:
    steps = "\n".join(f'    if name == {number}:\n        text = text.replace("a", "b")' for number in range(60))
    index = gather(ast.parse(f"def run(name, text):\n{steps}\n    use(text)"), "m.py", "m")
    calls = [(call, info.scope) for info in index.functions for call in info.calls]
    use, scope = max(calls, key=lambda pair: pair[0].lineno)

    assert text_of(use.args[0], scope) is None
