"""What pylint knows of the drivers with the brain: misspelt members are found, and nothing on clean code."""

from __future__ import annotations

import importlib
import keyword
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg2.errors
import psycopg2.extensions
import pytest
from astroid.builder import extract_node, parse

from dbsafety.adapters.brain import SOURCES, Source, chooses_a_class, generated
from tests.adapters.hosts import Row, pylint_rows

ERRORS = ("--disable=all", "--enable=E,F", "--dbsafety-brain=yes")

CLEAN = '''\
"""Everyday code on both drivers."""

import sqlite3
from contextlib import closing, suppress

import psycopg2
import psycopg2.errorcodes
import psycopg2.extras
import psycopg2.pool
from psycopg2 import errors, sql
from psycopg2.extensions import (
    ISOLATION_LEVEL_AUTOCOMMIT,
    TRANSACTION_STATUS_INERROR,
    connection as Connection,
    cursor as Cursor,
    quote_ident,
    register_adapter,
)


class Special(Connection):
    """A connection of one's own."""

    def shout(self) -> str:
        """Not a member of the driver's class."""
        return self.dsn.upper()


class Row:
    """Not a class of the driver."""

    def __init__(self, cursor: sqlite3.Cursor, row: tuple) -> None:
        self.names = [column[0] for column in cursor.description]
        self.row = row


def postgres(dsn: str) -> list:
    """psycopg2, from connect to close."""
    conn = psycopg2.connect(dsn, connect_timeout=10)
    conn.autocommit = False
    conn.set_session(isolation_level=ISOLATION_LEVEL_AUTOCOMMIT, readonly=True)
    if conn.closed or conn.get_transaction_status() == TRANSACTION_STATUS_INERROR:
        conn.reset()
    print(conn.info.transaction_status, conn.info.dbname, conn.encoding.lower(), conn.notices[-1:])
    with conn, conn.cursor() as cur:
        cur.execute("SELECT 1 FROM t WHERE id = %s", (1,))
        print(cur.rowcount + 1, cur.description[0].name, cur.query.decode(), cur.connection.dsn)
        for row in cur:
            print(row[0])
        first, *rest = cur.fetchone()
        print(first, rest, [column.name for column in cur.description or ()])
    named = conn.cursor("server_side", withhold=True)
    named.itersize = 500
    cur = conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cur.execute(sql.SQL("SELECT {} FROM t").format(sql.Identifier("a")))
    print([row["a"] for row in cur.fetchall()], quote_ident("a", conn))
    psycopg2.extras.execute_values(cur, "INSERT INTO t VALUES %s", [(1,)])
    special = psycopg2.connect(dsn, connection_factory=Special)
    print(special.shout())
    dicts = psycopg2.connect(dsn, cursor_factory=psycopg2.extras.DictCursor)
    print(dicts.cursor().index)
    conn.cursor_factory = psycopg2.extras.NamedTupleCursor
    print(conn.cursor().fetchone().a)
    try:
        cur.execute("INSERT INTO t VALUES (1)")
        conn.commit()
    except errors.UniqueViolation as error:
        conn.rollback()
        print(error.pgcode, error.diag.constraint_name, error.diag.message_primary, error.cursor)
    except (psycopg2.OperationalError, psycopg2.errors.SerializationFailure, conn.DataError) as error:
        print(error.pgerror, error.pgcode == psycopg2.errorcodes.DEADLOCK_DETECTED)
        raise
    finally:
        with suppress(psycopg2.Error):
            conn.close()
    return rest


def pooled(dsn: str) -> None:
    """A pool, a large object, notifications, replication."""
    pool = psycopg2.pool.ThreadedConnectionPool(1, 4, dsn)
    conn = pool.getconn()
    try:
        big = conn.lobject(0, "rw")
        big.write(b"x")
        print(big.seek(0) + 1, big.read().strip())
        conn.poll()
        while conn.notifies:
            print(conn.notifies.pop(0).payload)
        register_adapter(dict, psycopg2.extras.Json)
    finally:
        pool.putconn(conn)
    stream = psycopg2.connect(dsn, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    stream.cursor().start_replication(slot_name="s")


def annotated(conn: Connection, cur: Cursor, lite: sqlite3.Connection) -> int:
    """Handles by annotation."""
    conn.cancel()
    cur.mogrify("SELECT %s", (1,)).decode()
    return lite.total_changes + 1


def lite(path: str) -> list:
    """sqlite3, from connect to close."""
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as conn, conn:
        conn.row_factory = sqlite3.Row
        conn.execute("PRAGMA foreign_keys = ON")
        cur = conn.execute("INSERT INTO t VALUES (?)", (1,))
        print(cur.lastrowid + cur.rowcount, cur.connection.in_transaction, cur.arraysize * 2)
        row = conn.cursor().execute("SELECT a FROM t").fetchone()
        print(row["a"], row.keys(), conn.total_changes, conn.isolation_level.lower())
        conn.create_function("f", 1, len, deterministic=True)
        conn.executescript("SELECT 1; SELECT 2").close()
        conn.set_trace_callback(print)
        conn.backup(sqlite3.connect(":memory:"), pages=1)
        conn.text_factory = bytes
        for (value,) in conn.execute("SELECT a FROM t"):
            print(value)
        conn.row_factory = Row
        print(conn.execute("SELECT 1").fetchone().names)
        print(conn.iterdump().send(None), sqlite3.sqlite_version_info[0], sqlite3.PARSE_DECLTYPES | 1)
        try:
            conn.executemany("INSERT INTO t VALUES (?)", [(1,)])
        except sqlite3.IntegrityError as error:
            print(error.args, sqlite3.SQLITE_DENY)
            conn.rollback()
        return cur.fetchall()
'''

MISSPELT = """\
import sqlite3
from contextlib import closing

import psycopg2

conn = psycopg2.connect("")
conn.comit()
conn.cursor().exceute("SELECT 1")
print(conn.autocomit)
lite = sqlite3.connect("a.db")
lite.exceute("SELECT 1")
lite.execute("SELECT 1").fetchal()
lite.cursor().execute("SELECT 1").fetchal()
print(psycopg2.errors.UniqueViolatoin)
"""


def errors_in(folder: Path, source: str, *arguments: str) -> list[Row]:
    (folder / "m.py").write_text(source, encoding="utf-8")
    return pylint_rows(folder, *(arguments or ERRORS), "m.py")


def test_nothing_is_found_on_clean_code(tmp_path: Path) -> None:
    assert errors_in(tmp_path, CLEAN) == []


def test_nothing_else_changes_on_clean_code(tmp_path: Path) -> None:
    everything = ("--disable=dbsafety", "--enable=all")
    without = errors_in(tmp_path, CLEAN, *everything)
    brought = [row for row in errors_in(tmp_path, CLEAN, *everything, "--dbsafety-brain=yes") if row not in without]
    assert brought == []


def test_misspelt_members_are_found(tmp_path: Path) -> None:
    found = errors_in(tmp_path, MISSPELT)
    assert [(row.line, row.symbol) for row in found] == [(line, "no-member") for line in (7, 8, 9, 11, 12, 13, 14)]


def test_without_the_option_pylint_knows_nothing_of_them(tmp_path: Path) -> None:
    found = errors_in(tmp_path, MISSPELT, "--disable=all", "--enable=E,F")
    assert [(row.line, row.symbol) for row in found] == [(14, "no-member")]


def public(value: object) -> Iterator[str]:
    return (name for name in dir(value) if not name.startswith("_") and not keyword.iskeyword(name))


def test_every_public_member_of_the_live_classes_is_known(tmp_path: Path) -> None:
    lines = ["import sqlite3", "import psycopg2", "import psycopg2.errors", "import psycopg2.extensions"]
    made = {
        "pg = psycopg2.connect('')": (psycopg2.extensions.connection, "pg"),
        "cur = pg.cursor()": (psycopg2.extensions.cursor, "cur"),
        "lite = sqlite3.connect('')": (sqlite3.Connection, "lite"),
        "rows = lite.execute('')": (sqlite3.Cursor, "rows"),
        "big = psycopg2.extensions.lobject()": (psycopg2.extensions.lobject, "big"),
        "row = sqlite3.Row(rows, ())": (sqlite3.Row, "row"),
        "error = psycopg2.Error()": (psycopg2.Error, "error"),
    }
    for statement, (kind, name) in made.items():
        lines += [statement, *(f"print({name}.{member})" for member in public(kind))]
    for module in (sqlite3, psycopg2, psycopg2.errors, psycopg2.extensions):
        lines += [f"print({module.__name__}.{name})" for name in public(module)]
    assert errors_in(tmp_path, "\n".join([*lines, ""])) == []
    assert len(lines) > 600


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.module)
def test_the_generated_source_has_all_the_module_has(source: Source) -> None:
    defined = set(parse(generated(source)).locals)
    live = importlib.import_module(source.module)
    wanted = {name for name in vars(live) if not name.startswith("__")} if source.whole else {"connect"}
    assert wanted - defined == set()


def test_a_driver_that_is_not_installed_is_left_out() -> None:
    assert generated(Source("no_such_driver", "psycopg2")) == ""


CALLS = {
    "psycopg2.connect(dsn)": False,
    "psycopg2.connect(dsn, connect_timeout=1)": False,
    "connect(host='a')": False,
    "conn.cursor()": False,
    "conn.cursor('name')": False,
    "conn.cursor(name)": True,
    "conn.cursor('name', Factory)": True,
    "conn.cursor(cursor_factory=Factory)": True,
    "psycopg2.connect(dsn, connection_factory=Factory)": True,
    "psycopg2.connect(**settings)": True,
    "psycopg2.connect(*settings)": True,
    "sqlite3.connect(path, factory=Factory)": True,
    "other(path, factory=Factory)": False,
    "calls[0](path)": False,
}


@pytest.mark.parametrize(("code", "opened"), CALLS.items(), ids=CALLS)
def test_a_call_that_may_choose_a_class_stays_open(code: str, opened: bool) -> None:
    assert chooses_a_class(extract_node(code)) is opened
