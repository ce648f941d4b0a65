"""What an `except` clause catches."""

from __future__ import annotations

import ast

import pytest

from dbsafety.drivers.table import DEFAULT_TABLE
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.catch import Match, clause_matches
from tests.typestate.engine import Module

MODULE = """
import psycopg2, sqlite3, requests
from psycopg2 import errors
from somewhere import DatabaseError, StoreError
RETRIABLE = (psycopg2.OperationalError, psycopg2.InterfaceError)
class Own(Exception): pass
try:
    pass
except CLAUSE:
    pass
"""


def match(clause: str, raised: Raised, driver: str = "psycopg2") -> Match:
    module = Module(MODULE.replace(" CLAUSE" if not clause else "CLAUSE", clause))
    handler = next(node for node in ast.walk(module.index.tree) if isinstance(node, ast.ExceptHandler))
    spec = DEFAULT_TABLE.driver(driver)
    return clause_matches(module.resolver, handler.type, module.index.scope, spec, raised)


@pytest.mark.parametrize(
    ("clause", "database", "other", "base"),
    [
        ("", Match.SURE, Match.SURE, Match.SURE),
        ("BaseException", Match.SURE, Match.SURE, Match.SURE),
        ("Exception", Match.SURE, Match.SURE, Match.NO),
        ("psycopg2.Error", Match.SURE, Match.MAYBE, Match.NO),
        ("psycopg2.IntegrityError", Match.MAYBE, Match.MAYBE, Match.NO),
        ("errors.UniqueViolation", Match.MAYBE, Match.MAYBE, Match.NO),
        ("(ValueError, psycopg2.Error)", Match.SURE, Match.MAYBE, Match.NO),
        ("RETRIABLE", Match.MAYBE, Match.MAYBE, Match.NO),
        ("ValueError", Match.NO, Match.MAYBE, Match.NO),
        ("KeyboardInterrupt", Match.NO, Match.NO, Match.MAYBE),
        ("sqlite3.Error", Match.NO, Match.MAYBE, Match.NO),
        ("requests.RequestException", Match.NO, Match.MAYBE, Match.NO),
        ("Own", Match.NO, Match.MAYBE, Match.NO),
        ("DatabaseError", Match.MAYBE, Match.MAYBE, Match.NO),
        ("StoreError", Match.NO, Match.MAYBE, Match.NO),
    ],
)
def test_clauses(clause: str, database: Match, other: Match, base: Match) -> None:
    assert [match(clause, kind) for kind in (Raised.DB, Raised.OTHER, Raised.BASE)] == [database, other, base]


def test_each_driver_has_its_own_errors() -> None:
    assert match("sqlite3.Error", Raised.DB, "sqlite3") is Match.SURE
    assert match("psycopg2.Error", Raised.DB, "sqlite3") is Match.NO
