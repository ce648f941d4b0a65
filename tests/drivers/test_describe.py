"""The sentences of the drivers page."""

from __future__ import annotations

import pytest

from dbsafety.drivers.describe import answers, method_lines
from dbsafety.drivers.table import FULL_TABLE


@pytest.mark.parametrize(
    ("driver", "question", "answer"),
    [
        ("psycopg2", "Leaving `with connection`", "commits, on an exception rolls back; does not close the connection"),
        ("psycopg", "Leaving `with connection`", "commits, on an exception rolls back; closes the connection"),
        ("psycopg", "Leaving `with transaction`", "commits, on an exception rolls back"),
        ("aiosqlite", "Leaving `with connection`", "ends without a commit; closes the connection"),
        ("asyncpg", "Autocommit is switched on by", "nothing: it is on unless a transaction is opened"),
        ("django", "Ready-made", "`django.db.connection`, `django.db.connections`"),
        ("sqlite3", "Other connections are told", "`database is locked`"),
        (
            "psycopg2",
            "Autocommit is switched on by",
            (
                "the argument `async_=True`, the argument `async=True`, `connection.autocommit = True`, "
                "`set_session(autocommit=True)`, "
                "`set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)`"
            ),
        ),
    ],
)
def test_answers(driver: str, question: str, answer: str) -> None:
    assert dict(answers(FULL_TABLE.driver(driver)))[question] == answer


def test_methods_are_grouped_by_what_they_do() -> None:
    assert list(method_lines(FULL_TABLE.driver("psycopg2")))[2] == (
        "Methods of a pool: `closeall` (close); `getconn` (make); `putconn` (release)."
    )
    assert list(method_lines(FULL_TABLE.driver("sqlite3")))[1] == (
        "Methods of a cursor: `execute`, `executemany` (execute); `fetchall`, `fetchmany`, `fetchone` (fetch); "
        "`executescript` (script); 3 that do nothing to a transaction."
    )
