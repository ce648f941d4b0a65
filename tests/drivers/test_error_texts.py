"""What servers say, and the codes that tell the same: each row that can be provoked, provoked."""

from __future__ import annotations

import importlib
import operator
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dbsafety.drivers.spec import ErrorText
from dbsafety.drivers.table import DEFAULT_TABLE

POSTGRES = {
    "22001": "CREATE TEMP TABLE s (v varchar(1)); INSERT INTO s VALUES ('ab')",
    "22003": "SELECT 99999999999::bigint::int",
    "22012": "SELECT 1 / 0",
    "22P02": "SELECT 'a'::int",
    "23502": "CREATE TEMP TABLE s (v int NOT NULL); INSERT INTO s VALUES (NULL)",
    "23503": "CREATE TEMP TABLE o (v int UNIQUE); CREATE TEMP TABLE s (w int REFERENCES o(v)); INSERT INTO s SELECT 1",
    "23505": "CREATE TEMP TABLE s (v int UNIQUE); INSERT INTO s VALUES (1), (1)",
    "23514": "CREATE TEMP TABLE s (v int CHECK (v > 0)); INSERT INTO s VALUES (0)",
    "42601": "SELECT FROM WHERE",
    "42701": "CREATE TEMP TABLE s (v int); ALTER TABLE s ADD COLUMN v int",
    "42703": "SELECT missing FROM t",
    "42P01": "SELECT * FROM missing",
    "42P07": "CREATE TABLE t (id int)",
    "57014": "SET LOCAL statement_timeout = 20; SELECT pg_sleep(10)",
}
SQLITE = {
    "SQLITE_CONSTRAINT_UNIQUE": "CREATE TABLE s (v UNIQUE); INSERT INTO s VALUES (1), (1)",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "CREATE TABLE s (v PRIMARY KEY); INSERT INTO s VALUES (1), (1)",
    "SQLITE_CONSTRAINT_NOTNULL": "CREATE TABLE s (v NOT NULL); INSERT INTO s VALUES (NULL)",
    "SQLITE_CONSTRAINT_CHECK": "CREATE TABLE s (v CHECK (v > 0)); INSERT INTO s VALUES (0)",
    "SQLITE_CONSTRAINT_FOREIGNKEY": (
        "PRAGMA foreign_keys = ON; CREATE TABLE o (v PRIMARY KEY); CREATE TABLE s (v REFERENCES o);"
        "INSERT INTO s VALUES (1)"
    ),
    "SQLITE_READONLY": "PRAGMA query_only = ON; CREATE TABLE s (v)",
    "SQLITE_FULL": "PRAGMA max_page_count = 1; CREATE TABLE s (v)",
    "": "SELECT * FROM missing",
}


def plain(message: str) -> str:
    return " ".join(re.sub(r'"[^"]*"', " ", message.lower()).replace(":", " ").split())


def texts(driver: str, code: str) -> list[ErrorText]:
    return [entry for entry in DEFAULT_TABLE.driver(driver).error_texts if entry.code == code]


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("code", POSTGRES)
def test_postgres(driver: str, code: str, dsn: str) -> None:
    module, spec = importlib.import_module(driver), DEFAULT_TABLE.driver(driver)
    with closing(module.connect(dsn, connect_timeout=10)) as conn, pytest.raises(module.Error) as caught:
        conn.cursor().execute(POSTGRES[code])
    error = caught.value
    assert getattr(error, spec.code_attributes[0]) == code
    (entry,) = [entry for entry in texts(driver, code) if entry.text in plain(str(error))]
    assert type(error).__name__ == entry.name


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_the_name_of_the_constraint(driver: str, dsn: str) -> None:
    module, spec = importlib.import_module(driver), DEFAULT_TABLE.driver(driver)
    with closing(module.connect(dsn, connect_timeout=10)) as conn, pytest.raises(module.IntegrityError) as caught:
        conn.cursor().execute(POSTGRES["23505"])
    assert operator.attrgetter(spec.constraint_attribute)(caught.value) == "s_v_key"


def test_every_class_of_a_code_is_in_the_tables() -> None:
    names = {entry.name for entry in DEFAULT_TABLE.driver("psycopg2").error_texts if entry.name}
    for driver in ("psycopg2", "psycopg"):
        assert {name for name in names if f"{driver}.errors.{name}" not in DEFAULT_TABLE.driver(driver).errors} == set()


@pytest.mark.parametrize("code", SQLITE)
def test_sqlite(code: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as conn, pytest.raises(sqlite3.Error) as caught:
        conn.executescript(SQLITE[code])
    assert any(entry.text in plain(str(caught.value)) for entry in texts("sqlite3", code))
    if sys.version_info >= (3, 11):
        assert caught.value.sqlite_errorname == (code or "SQLITE_ERROR")


def test_sqlite_of_another_connection(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as first, closing(sqlite3.connect(path, timeout=0)) as second:
        first.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            second.execute("BEGIN IMMEDIATE")
    assert [entry.text for entry in texts("sqlite3", "SQLITE_BUSY")] == [str(caught.value)]


def test_sqlite_of_an_old_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as first,
        closing(sqlite3.connect(path, isolation_level=None)) as second,
    ):
        first.executescript("PRAGMA journal_mode = WAL; CREATE TABLE s (v); BEGIN")
        first.execute("SELECT v FROM s").fetchall()
        second.execute("INSERT INTO s VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            first.execute("INSERT INTO s VALUES (2)")
    assert [entry.text for entry in texts("sqlite3", "SQLITE_BUSY_SNAPSHOT")] == [str(caught.value)]
    if sys.version_info >= (3, 11):
        assert caught.value.sqlite_errorname == "SQLITE_BUSY_SNAPSHOT"


def test_sqlite_of_a_shared_cache() -> None:
    name = "file:shared?mode=memory&cache=shared"
    with closing(sqlite3.connect(name, uri=True)) as first, closing(sqlite3.connect(name, uri=True)) as second:
        first.executescript("CREATE TABLE s (v); BEGIN; INSERT INTO s VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            second.execute("INSERT INTO s VALUES (2)")
    assert [entry.text for entry in texts("sqlite3", "SQLITE_LOCKED_SHAREDCACHE")] == [str(caught.value)]
    if sys.version_info >= (3, 11):
        assert caught.value.sqlite_errorname == "SQLITE_LOCKED_SHAREDCACHE"


@pytest.mark.parametrize("driver", [spec.name for spec in DEFAULT_TABLE.drivers])
def test_every_driver_can_tell_a_code(driver: str) -> None:
    spec = DEFAULT_TABLE.driver(driver)
    assert spec.code_attributes
    codes = [entry for entry in spec.error_texts if entry.code]
    assert codes == [entry for entry in codes if entry.text == entry.text.lower()]
    assert {entry.since for entry in codes if entry.code.startswith("SQLITE_")} <= {(3, 11)}
