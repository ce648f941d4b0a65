"""sqlite3 and aiosqlite at work: every effect, block and switch their tables claim."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from dbsafety.drivers.spec import AutocommitSwitch, Effect, HandleKind, Switch
from dbsafety.drivers.table import DEFAULT_TABLE

SQLITE3, AIOSQLITE = DEFAULT_TABLE.driver("sqlite3"), DEFAULT_TABLE.driver("aiosqlite")
CONNECTION, CURSOR = SQLITE3.handles[HandleKind.CONNECTION], SQLITE3.handles[HandleKind.CURSOR]
INSERT = "INSERT INTO t VALUES (1)"

Act = Callable[[sqlite3.Connection], object]
CALLS: dict[str, Act] = {
    "cursor": lambda conn: conn.cursor(),
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "close": lambda conn: conn.close(),
    "interrupt": lambda conn: conn.interrupt(),
    "create_aggregate": lambda conn: conn.create_aggregate("f", 1, int),
    "create_collation": lambda conn: conn.create_collation("c", lambda one, other: (one > other) - (one < other)),
    "create_function": lambda conn: conn.create_function("f", 1, int),
    "set_authorizer": lambda conn: conn.set_authorizer(None),
    "set_progress_handler": lambda conn: conn.set_progress_handler(None, 0),
    "set_trace_callback": lambda conn: conn.set_trace_callback(None),
    "iterdump": lambda conn: list(conn.iterdump()),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database whose table `t` is empty."""
    found = tmp_path / "t.db"
    with closing(sqlite3.connect(found)) as conn, conn:
        conn.execute("PRAGMA journal_mode = WAL")  # lets `stored` read beside an exclusive transaction
        conn.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    return found


def stored(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as conn:
        return [row[0] for row in conn.execute("SELECT id FROM t ORDER BY id")]


def is_closed(conn: sqlite3.Connection) -> bool:
    try:
        _ = conn.total_changes
    except sqlite3.ProgrammingError:
        return True
    return False


def observed(conn: sqlite3.Connection, path: Path) -> Effect:
    """What became of a transaction that held one insert."""
    if is_closed(conn):
        return Effect.CLOSE
    if conn.in_transaction:
        return Effect.NEUTRAL
    return Effect.COMMIT if stored(path) else Effect.ROLLBACK


@pytest.mark.parametrize("name", sorted(CALLS))
def test_methods_do_what_the_table_says(name: str, path: Path) -> None:
    effect = CONNECTION.methods[name].effect
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(INSERT)
        CALLS[name](conn)
        seen = observed(conn, path)
    assert seen is (effect if effect in (Effect.COMMIT, Effect.ROLLBACK, Effect.CLOSE) else Effect.NEUTRAL)


@pytest.mark.parametrize("owner", [CONNECTION, CURSOR], ids=["connection", "cursor"])
def test_a_script_commits_what_is_pending(owner: Any, path: Path) -> None:
    assert owner.methods["executescript"].effect is Effect.SCRIPT
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(INSERT)
        (conn if owner is CONNECTION else conn.cursor()).executescript("SELECT 1")
        assert observed(conn, path) is Effect.COMMIT


@pytest.mark.parametrize("fails", [False, True])
def test_leaving_the_block_of_a_connection(fails: bool, path: Path) -> None:
    block = CONNECTION.with_block
    assert block is not None
    with closing(sqlite3.connect(path)) as conn:
        with suppress(ZeroDivisionError), conn:
            assert conn.in_transaction is block.begins
            conn.execute(INSERT)
            if fails:
                raise ZeroDivisionError
        assert observed(conn, path) is (block.error if fails else block.success)
        assert is_closed(conn) is block.closes


def test_a_cursor_has_no_block() -> None:
    assert CURSOR.with_block is None
    assert not hasattr(sqlite3.Cursor, "__exit__")


def test_a_cursor_touches_no_database(tmp_path: Path) -> None:
    assert [name for name, row in CONNECTION.methods.items() if row.local] == ["cursor"]
    path = tmp_path / "no.db"
    path.write_bytes(b"no database, but long enough to be read as one. " * 100)
    with closing(sqlite3.connect(path)) as conn:
        cur = conn.cursor()
        with pytest.raises(sqlite3.DatabaseError, match="file is not a database"):
            cur.execute("SELECT 1 FROM t")


def test_what_statements_return() -> None:
    with closing(sqlite3.connect(":memory:")) as conn:
        cur = conn.cursor()
        for name, arguments in (("execute", ()), ("executemany", ([(1,)],)), ("executescript", ())):
            sql = "INSERT INTO t VALUES (?)" if arguments else "CREATE TABLE IF NOT EXISTS t (id)"
            assert (getattr(cur, name)(sql, *arguments) is cur) is CURSOR.methods[name].returns_self
            assert isinstance(getattr(conn, name)(sql, *arguments), sqlite3.Cursor)
            assert CONNECTION.methods[name].returns is HandleKind.CURSOR
        assert cur.connection is conn


def test_statements_take_no_keyword() -> None:
    rows = (*CONNECTION.methods.values(), *CURSOR.methods.values())
    assert {row.sql_keyword for row in rows} == {None}
    with closing(sqlite3.connect(":memory:")) as conn:
        for owner in (conn, conn.cursor()):
            for name in ("execute", "executemany", "executescript"):
                with pytest.raises(TypeError, match="takes no keyword arguments"):
                    getattr(owner, name)(sql="SELECT 1")


def test_a_failed_write_keeps_the_lock_and_a_read_begins_nothing(path: Path) -> None:
    assert (SQLITE3.aborts, SQLITE3.keeps_lock, SQLITE3.begins_on_read) == (False, True, False)
    with closing(sqlite3.connect(path)) as conn, closing(sqlite3.connect(path, timeout=0)) as other:
        conn.execute("SELECT 1").fetchall()
        assert not conn.in_transaction
        with conn:
            conn.execute(INSERT)
        with pytest.raises(sqlite3.IntegrityError):
            conn.execute(INSERT)
        assert conn.in_transaction
        with pytest.raises(sqlite3.OperationalError, match=SQLITE3.locked_error):
            other.execute("INSERT INTO t VALUES (2)")


def switches() -> Iterator[tuple[AutocommitSwitch, object, bool]]:
    for switch in SQLITE3.autocommit:
        for values, state in ((switch.on, True), (switch.off, False)):
            yield from ((switch, value, state) for value in values)


@pytest.mark.parametrize(
    ("switch", "value", "state"),
    [pytest.param(*row, id=f"{row[0].by.value}-{row[0].name}-{row[1]!r}") for row in switches()],
)
def test_switches_of_autocommit(switch: AutocommitSwitch, value: object, state: bool, path: Path) -> None:
    real = SQLITE3.constants[value] if isinstance(value, str) and "." in value else value
    known = switch.name != "autocommit" or sys.version_info >= (3, 12)
    if not known:
        if switch.by is Switch.KEYWORD:
            with pytest.raises(TypeError):
                sqlite3.connect(path, **{switch.name: real})
        return
    given = {switch.name: real} if switch.by is Switch.KEYWORD else {}
    with closing(sqlite3.connect(path, **given)) as conn:
        if switch.by is Switch.ATTRIBUTE:
            setattr(conn, switch.name, real)
        conn.execute(INSERT)
        assert (stored(path) == [1]) is state
        conn.rollback()
        assert (stored(path) == [1]) is (state and not SQLITE3.rollback_in_autocommit)


def test_rollback_after_an_explicit_begin_without_isolation_level(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("BEGIN")
        conn.execute(INSERT)
        conn.rollback()
        assert (stored(path) == []) is SQLITE3.rollback_after_begin
        assert conn.in_transaction is not SQLITE3.rollback_after_begin


def test_values_that_sqlite3_refuses_are_in_no_switch() -> None:
    if sys.version_info >= (3, 12):
        with pytest.raises(ValueError, match="autocommit must be True, False, or"):
            sqlite3.connect(":memory:", autocommit=2)


@pytest.mark.parametrize("fails", [False, True])
def test_the_block_of_aiosqlite_closes_without_a_commit(fails: bool, path: Path) -> None:
    block = AIOSQLITE.handles[HandleKind.CONNECTION].with_block
    assert block is not None
    assert (block.success, block.error, block.closes) == (Effect.CLOSE, Effect.CLOSE, True)

    async def scenario() -> aiosqlite.Connection:
        with suppress(ZeroDivisionError):
            async with aiosqlite.connect(path) as conn:
                await conn.execute(INSERT)
                assert conn.in_transaction
                if fails:
                    raise ZeroDivisionError
        return conn

    conn = asyncio.run(scenario())
    with pytest.raises(ValueError, match="no active connection"):
        _ = conn.in_transaction
    assert stored(path) == []


def test_methods_of_aiosqlite_do_what_the_table_says(path: Path) -> None:
    methods, cursor_methods = (AIOSQLITE.handles[kind].methods for kind in (HandleKind.CONNECTION, HandleKind.CURSOR))

    async def scenario(conn: aiosqlite.Connection) -> None:
        cur = await conn.cursor()
        for name, arguments in (("execute", ()), ("executemany", ([(5,)],)), ("executescript", ())):
            sql = "INSERT INTO t VALUES (?)" if arguments else "SELECT 1"
            assert (await getattr(cur, name)(sql, *arguments) is cur) is cursor_methods[name].returns_self
            keyword = str(methods[name].sql_keyword)
            await getattr(conn, name)(
                **{keyword: "DELETE FROM t WHERE id = 9" if arguments else "SELECT 1"},
                **({"parameters": []} if arguments else {}),
            )
        await conn.rollback()
        assert AIOSQLITE.handles[HandleKind.CURSOR].attributes["connection"] is None
        assert isinstance(cur.connection, sqlite3.Connection)
        for name, rows in (("rollback", []), ("commit", [1])):
            await conn.execute_insert("INSERT INTO t VALUES (1)")
            assert conn.in_transaction
            await getattr(conn, name)()
            assert not conn.in_transaction
            assert [row for row in stored(path) if row != 5] == rows
            assert methods[name].effect is Effect[name.upper()]
        async with conn.execute("SELECT 1") as opened:
            assert list(await opened.fetchall()) == [(1,)]
        with pytest.raises(sqlite3.ProgrammingError):
            await opened.execute("SELECT 1")

    async def closed_at_the_end() -> None:
        async with aiosqlite.connect(path) as conn:
            await scenario(conn)

    asyncio.run(closed_at_the_end())


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN DEFERRED", "SAVEPOINT s", "BEGIN IMMEDIATE"])
@pytest.mark.parametrize("read", ["SELECT * FROM t", "PRAGMA user_version", "PRAGMA table_info(t)"])
def test_a_deferred_transaction_cannot_write_on_an_old_snapshot(begin: str, read: str, path: Path) -> None:
    assert SQLITE3.deferred_begin
    with closing(sqlite3.connect(path, isolation_level=None)) as conn, closing(sqlite3.connect(path)) as other:
        conn.execute("PRAGMA journal_mode = WAL")
        other.execute("PRAGMA busy_timeout = 0")
        conn.execute(begin)
        conn.execute(read).fetchall()
        if begin == "BEGIN IMMEDIATE":
            with pytest.raises(sqlite3.OperationalError, match=SQLITE3.locked_error):
                other.execute(INSERT)
            conn.execute(INSERT)
        else:
            with other:
                other.execute(INSERT)
            with pytest.raises(sqlite3.OperationalError, match=SQLITE3.locked_error):
                conn.execute(INSERT)


@pytest.mark.parametrize("fetched", [False, True])
def test_rows_that_are_still_coming_hold_a_snapshot(fetched: bool, path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn, closing(sqlite3.connect(path)) as other:
        conn.execute("PRAGMA journal_mode = WAL")
        with other:
            other.executemany("INSERT INTO t VALUES (?)", [(7,), (8,), (9,)])
        rows = conn.execute("SELECT * FROM t")
        _ = rows.fetchall() if fetched else next(rows)
        with other:
            other.execute("INSERT INTO t VALUES (10)")
        with nullcontext() if fetched else pytest.raises(sqlite3.OperationalError, match=SQLITE3.locked_error):
            conn.execute(INSERT)


def test_the_check_of_the_thread_can_be_switched_off(path: Path) -> None:
    checked, open_to_all = (sqlite3.connect(path, **{SQLITE3.thread_check: check}) for check in (True, False))
    seen: list[str] = []

    def use(conn: sqlite3.Connection) -> None:
        try:
            conn.execute("SELECT 1").close()
            seen.append("used")
        except sqlite3.ProgrammingError as error:
            seen.append(str(error).partition(".")[0])

    with closing(checked), closing(open_to_all):
        for conn in (checked, open_to_all):
            other = threading.Thread(target=use, args=(conn,))
            other.start()
            other.join()
    assert seen == ["SQLite objects created in a thread can only be used in that same thread", "used"]
