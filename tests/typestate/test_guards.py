"""What tests say about the state of a connection."""

from __future__ import annotations

import ast

import pytest

from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.guards import holds
from dbsafety.typestate.values import handles
from tests.typestate.engine import Module

PSYCOPG2 = """
import psycopg2
from psycopg2 import extensions
from psycopg2.extensions import TRANSACTION_STATUS_INERROR
def check(conn: extensions.connection, other: extensions.connection):
    conn.rollback()
    if TEST:
        pass
"""
SQLITE3 = """
import sqlite3
def check(conn: sqlite3.Connection, other: sqlite3.Connection):
    conn.rollback()
    if TEST:
        pass
"""
STATES = (Tx.UNBOUND, Tx.CLOSED, Tx.IDLE, Tx.OPEN, Tx.FAILED)
ALL = "unbound closed idle open failed"


def true_in(source: str, test: str) -> str | None:
    """The states in which the test is true, None when it says nothing."""
    module = Module(source.replace("TEST", test))
    info = module.function("check")
    branch = next(node for node in ast.walk(info.node) if isinstance(node, ast.If))
    (connection, *_) = handles(module.values("conn", "check"))
    predicate = holds(module.resolver, branch.test, info.scope, connection.key)
    if predicate is None:
        return None
    return " ".join(tx.value for tx in STATES if predicate(State(tx)))


@pytest.mark.parametrize(
    ("test", "states"),
    [
        ("conn", "closed idle open failed"),  # bool(conn) is always true (W10)
        ("conn is None", "unbound"),
        ("conn is not None", "closed idle open failed"),
        ("conn == None", "unbound"),
        ("conn != None", "closed idle open failed"),
        ("conn.closed", "closed"),
        ("conn.closed == 0", "unbound idle open failed"),
        ("conn.closed != 0", "closed"),
        ("'conn' in locals()", "closed idle open failed"),
        ("conn.info.transaction_status == extensions.TRANSACTION_STATUS_INERROR", "failed"),
        ("conn.get_transaction_status() == TRANSACTION_STATUS_INERROR", "failed"),
        ("conn.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE", "unbound closed open failed"),
        ("conn.status == extensions.STATUS_READY", None),  # cannot tell (B1c)
        ("other", None),
        ("other.closed", None),
        ("conn.autocommit", None),
        ("check", None),
        ("1 < 2", None),
    ],
)
def test_psycopg2(test: str, states: str | None) -> None:
    assert true_in(PSYCOPG2, test) == states


@pytest.mark.parametrize(
    ("test", "states"),
    [("conn.in_transaction", "open failed"), ("conn", "closed idle open failed"), ("conn.total_changes", None)],
)
def test_sqlite(test: str, states: str | None) -> None:
    assert true_in(SQLITE3, test) == states
