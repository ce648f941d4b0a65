"""Wrappers that a user declares."""

from __future__ import annotations

import re

import pytest

from dbsafety.drivers.spec import HandleKind, WrapperSetting
from dbsafety.drivers.table import DEFAULT_TABLE
from dbsafety.drivers.wrappers import table_with


def test_without_wrappers_the_table_is_the_default_one() -> None:
    assert table_with(()) is DEFAULT_TABLE


def test_a_wrapper_is_a_constructor_of_its_driver() -> None:
    table = table_with([WrapperSetting("app.db.get_connection", "psycopg2", HandleKind.CONNECTION, autocommit=True)])
    found = table.constructor("app.db.get_connection")
    assert found is not None
    assert (found[0].name, found[1].kind, found[1].autocommit) == ("psycopg2", HandleKind.CONNECTION, True)
    assert table.constructor("psycopg2.connect") is not None
    assert DEFAULT_TABLE.constructor("app.db.get_connection") is None
    assert table.digest() != DEFAULT_TABLE.digest()


def test_the_later_of_two_wrappers_of_one_name_wins() -> None:
    table = table_with(
        [WrapperSetting("app.open", "psycopg2"), WrapperSetting("app.open", "sqlite3", HandleKind.CURSOR)]
    )
    found = table.constructor("app.open")
    assert found is not None
    assert (found[0].name, found[1].kind) == ("sqlite3", HandleKind.CURSOR)


@pytest.mark.parametrize(
    ("wrapper", "sentence"),
    [
        (
            WrapperSetting("app.open", "oracledb"),
            (
                "wrapper `app.open`: no driver `oracledb`; known are "
                "psycopg2, psycopg, sqlite3, aiosqlite, asyncpg, sqlalchemy, django"
            ),
        ),
        (
            WrapperSetting("app.open", "sqlite3", HandleKind.POOL),
            "wrapper `app.open`: sqlite3 has no pool; `returns` is one of connection, cursor",
        ),
        (
            WrapperSetting("open it", "sqlite3"),
            "wrapper `open it`: `factory` is a dotted name such as `app.db.get_connection`",
        ),
    ],
)
def test_a_wrong_wrapper_is_told_in_one_sentence(wrapper: WrapperSetting, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        table_with([wrapper])
