"""psycopg2 and psycopg at work on a real server: every effect, block and switch their tables claim."""

from __future__ import annotations

import asyncio
import importlib
import io
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import psycopg2
import psycopg2.extras
import psycopg2.pool
import psycopg_pool
import pytest

from dbsafety.drivers.spec import AutocommitSwitch, DriverSpec, Effect, HandleKind, Switch
from dbsafety.drivers.table import DEFAULT_TABLE

PSYCOPG2, PSYCOPG = DEFAULT_TABLE.driver("psycopg2"), DEFAULT_TABLE.driver("psycopg")
BOTH = pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in (PSYCOPG2, PSYCOPG)])
IDLE, INTRANS, INERROR = 0, 2, 3

Act = Callable[[Any], object]
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "cursor": (),
    "get_parameter_status": ("TimeZone",),
    "xid": (1, "a", "b"),
    "add_notice_handler": (print,),
    "add_notify_handler": (print,),
}
NEED_THEIR_OWN_TEST = {
    *("set_session", "set_isolation_level", "set_autocommit"),  # below
    *("tpc_begin", "tpc_commit", "tpc_rollback"),  # below
    *("set_deferrable", "set_read_only"),  # refused inside a transaction, which changes nothing
    *("remove_notice_handler", "remove_notify_handler"),  # need what was added
    *("execute", "lobject", "transaction"),  # below
}


def opened(spec: DriverSpec, dsn: str) -> Any:
    return importlib.import_module(spec.name).connect(dsn, connect_timeout=10)


def status(conn: Any) -> int:
    return int(conn.info.transaction_status)


def stored(dsn: str) -> list[int]:
    with closing(psycopg2.connect(dsn, connect_timeout=10)) as conn, conn.cursor() as cur:
        cur.execute("SELECT id FROM t ORDER BY id")
        return [row[0] for row in cur.fetchall()]


def insert(conn: Any) -> None:
    conn.cursor().execute("INSERT INTO t VALUES (1)")


def observed(conn: Any, dsn: str) -> Effect:
    """What became of a transaction that held one insert."""
    if conn.closed:
        return Effect.CLOSE
    if status(conn) != IDLE:
        return Effect.NEUTRAL
    return Effect.COMMIT if stored(dsn) else Effect.ROLLBACK


def ending_methods(spec: DriverSpec) -> Iterator[tuple[DriverSpec, str, Effect]]:
    ends = (Effect.COMMIT, Effect.ROLLBACK, Effect.CLOSE, Effect.NEUTRAL, Effect.MAKE)
    for name, row in spec.handles[HandleKind.CONNECTION].methods.items():
        if row.effect in ends and name not in NEED_THEIR_OWN_TEST:
            yield spec, name, Effect.NEUTRAL if row.effect is Effect.MAKE else row.effect


@pytest.mark.parametrize(
    ("spec", "name", "effect"),
    [pytest.param(*row, id=f"{row[0].name}-{row[1]}") for spec in (PSYCOPG2, PSYCOPG) for row in ending_methods(spec)],
)
def test_methods_do_what_the_table_says(spec: DriverSpec, name: str, effect: Effect, dsn: str) -> None:
    with closing(opened(spec, dsn)) as conn:
        insert(conn)
        getattr(conn, name)(*ARGUMENTS.get(name, ()))
        assert observed(conn, dsn) is effect


@BOTH
@pytest.mark.parametrize("name", ["tpc_commit", "tpc_rollback"])
def test_two_phase_methods_end_the_transaction(spec: DriverSpec, name: str, dsn: str) -> None:
    with closing(opened(spec, dsn)) as conn:
        conn.tpc_begin(conn.xid(1, "a", "b"))
        insert(conn)
        assert status(conn) == INTRANS
        getattr(conn, name)()
        assert observed(conn, dsn) is spec.handles[HandleKind.CONNECTION].methods[name].effect


@BOTH
@pytest.mark.parametrize("fails", [False, True])
def test_leaving_the_block_of_a_connection(spec: DriverSpec, fails: bool, dsn: str) -> None:
    block = spec.handles[HandleKind.CONNECTION].with_block
    assert block is not None
    with closing(opened(spec, dsn)) as conn:
        with suppress(ZeroDivisionError), conn:
            insert(conn)
            if fails:
                raise ZeroDivisionError
        assert bool(conn.closed) is block.closes
        assert (block.error if fails else block.success) is (Effect.COMMIT if stored(dsn) else Effect.ROLLBACK)


@BOTH
def test_whether_the_block_begins_a_transaction_in_autocommit_mode(spec: DriverSpec, dsn: str) -> None:
    block = spec.handles[HandleKind.CONNECTION].with_block
    assert block is not None
    conn = opened(spec, dsn)
    conn.autocommit = True
    with closing(conn), suppress(ZeroDivisionError), conn:
        insert(conn)
        raise ZeroDivisionError
    assert (stored(dsn) == []) is block.begins is spec.with_begins_in_autocommit


@BOTH
def test_the_block_of_a_cursor_leaves_the_transaction_alone(spec: DriverSpec, dsn: str) -> None:
    with closing(opened(spec, dsn)) as conn:
        with conn.cursor() as cur:
            cur.execute("INSERT INTO t VALUES (1)")
        assert cur.closed
        assert observed(conn, dsn) is Effect.NEUTRAL
        assert cur.connection is conn


@BOTH
def test_what_statements_return(spec: DriverSpec, dsn: str) -> None:
    methods = spec.handles[HandleKind.CURSOR].methods
    with closing(opened(spec, dsn)) as conn:
        cur = conn.cursor()
        assert (cur.execute("SELECT 1") is cur) is methods["execute"].returns_self
        assert (cur.executemany("SELECT %s", [(1,)]) is cur) is methods["executemany"].returns_self
        if spec is PSYCOPG:
            assert type(conn.execute("SELECT 1")) is type(cur)
            assert spec.handles[HandleKind.CONNECTION].methods["execute"].returns is HandleKind.CURSOR


STATEMENTS: dict[str, Act] = {
    "execute": lambda cur: cur.execute("SELECT 1/0"),
    "executemany": lambda cur: cur.executemany("INSERT INTO t VALUES (%s)", [(1,), (1,)]),
    "callproc": lambda cur: cur.callproc("no_such_function"),
    "copy_expert": lambda cur: cur.copy_expert("COPY nowhere TO STDOUT", io.StringIO()),
    "copy_from": lambda cur: cur.copy_from(io.StringIO(), "nowhere"),
    "copy_to": lambda cur: cur.copy_to(io.StringIO(), "nowhere"),
    "stream": lambda cur: list(cur.stream("SELECT 1/0")),
    "copy": lambda cur: cur.copy("COPY nowhere TO STDOUT").__enter__(),
}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param(spec, name, id=f"{spec.name}-{name}")
        for spec in (PSYCOPG2, PSYCOPG)
        for name, row in spec.handles[HandleKind.CURSOR].methods.items()
        if row.effect is Effect.EXECUTE
    ],
)
def test_a_failed_statement_aborts_the_transaction(spec: DriverSpec, name: str, dsn: str) -> None:
    error = importlib.import_module(spec.name).Error
    with closing(opened(spec, dsn)) as conn:
        with pytest.raises(error):
            STATEMENTS[name](conn.cursor())
        assert status(conn) == INERROR
        with pytest.raises(error, match=spec.aborted_error):
            conn.cursor().execute("SELECT 1")


@BOTH
def test_fetching_fails_on_the_client_unless_the_cursor_is_on_the_server(spec: DriverSpec, dsn: str) -> None:
    error = importlib.import_module(spec.name).Error
    assert spec.handles[HandleKind.CONNECTION].methods["cursor"].server_side == "name"
    with closing(opened(spec, dsn)) as conn:
        insert(conn)
        cur = conn.cursor()
        cur.execute("UPDATE t SET id = 2")
        with pytest.raises(error):
            cur.fetchone()
        assert status(conn) == INTRANS
        named = conn.cursor("c")
        named.execute("SELECT 1 / (x - 3) FROM generate_series(1, 9) AS x")
        with pytest.raises(error):
            named.fetchall()
        assert status(conn) == INERROR


def switches(spec: DriverSpec) -> Iterator[tuple[DriverSpec, AutocommitSwitch, object, bool]]:
    for switch in spec.autocommit:
        for values, state in ((switch.on, True), (switch.off, False)):
            yield from ((spec, switch, value, state) for value in values)


@pytest.mark.parametrize(
    ("spec", "switch", "value", "state"),
    [
        pytest.param(*row, id=f"{row[0].name}-{row[1].by.value}-{row[1].name}-{row[2]}")
        for spec in (PSYCOPG2, PSYCOPG)
        for row in switches(spec)
    ],
)
def test_switches_of_autocommit(
    spec: DriverSpec, switch: AutocommitSwitch, value: object, state: bool, dsn: str
) -> None:
    real = spec.constants[value] if isinstance(value, str) else value
    given = {switch.name: real} if switch.by is Switch.KEYWORD else {}
    with closing(importlib.import_module(spec.name).connect(dsn, **given)) as conn:
        if getattr(conn, "async_", False):
            psycopg2.extras.wait_select(conn)
        if switch.by is not Switch.KEYWORD:
            conn.autocommit = not state
        if switch.by is Switch.ATTRIBUTE:
            setattr(conn, switch.name, real)
        elif switch.by is Switch.METHOD:
            if switch.keyword is not None:
                getattr(conn, switch.name)(**{switch.keyword: real})
                assert conn.autocommit is state
                conn.autocommit = not state
            getattr(conn, switch.name)(*[None] * (switch.position or 0), real)
        assert conn.autocommit is state


def test_only_setting_the_isolation_level_ends_the_transaction(dsn: str) -> None:
    methods = PSYCOPG2.handles[HandleKind.CONNECTION].methods
    with closing(opened(PSYCOPG2, dsn)) as conn:
        insert(conn)
        for refused in (lambda: conn.set_session(autocommit=True), lambda: setattr(conn, "autocommit", True)):
            with pytest.raises(psycopg2.ProgrammingError, match="cannot be used inside a transaction"):
                refused()
        assert (status(conn) == IDLE) is methods["set_session"].rolls_back
        conn.set_isolation_level(1)
        assert methods["set_isolation_level"].rolls_back
        assert observed(conn, dsn) is Effect.ROLLBACK


def test_psycopg2_takes_no_keyword_for_autocommit(dsn: str) -> None:
    with pytest.raises(psycopg2.ProgrammingError):
        psycopg2.connect(dsn, autocommit=True)


@BOTH
def test_rollback_after_an_explicit_begin_in_autocommit_mode(spec: DriverSpec, dsn: str) -> None:
    with closing(opened(spec, dsn)) as conn:
        conn.autocommit = True
        conn.cursor().execute("BEGIN")
        insert(conn)
        conn.rollback()
        assert (status(conn) == IDLE) is spec.rollback_in_autocommit
        assert (status(conn) == IDLE) is spec.rollback_after_begin


def test_transaction_of_psycopg(dsn: str) -> None:
    block = PSYCOPG.handles[HandleKind.TRANSACTION].with_block
    assert block is not None
    with closing(opened(PSYCOPG, dsn)) as conn:
        conn.autocommit = True
        with suppress(ZeroDivisionError), conn.transaction():
            assert (status(conn) == INTRANS) is block.begins
            insert(conn)
            raise ZeroDivisionError
        assert observed(conn, dsn) is block.error
        with conn.transaction() as made:
            insert(conn)
            assert made.connection is conn
        assert observed(conn, dsn) is block.success
        with conn.transaction():
            conn.execute("DELETE FROM t")
            raise psycopg.Rollback
        assert block.swallows == {"psycopg.Rollback"}
        assert stored(dsn) == [1]


def test_functions_of_psycopg2_extras(dsn: str) -> None:
    with closing(opened(PSYCOPG2, dsn)) as conn:
        for function in (psycopg2.extras.execute_values, psycopg2.extras.execute_batch):
            with pytest.raises(psycopg2.Error):
                function(conn.cursor(), "INSERT INTO nowhere VALUES %s", [(1,)])
            assert status(conn) == INERROR
            conn.rollback()
        lookups = (
            lambda: psycopg2.extras.register_hstore(conn),
            lambda: psycopg2.extras.register_composite("no_such_type", conn),
            lambda: psycopg2.extras.register_range("no_such_range", "Nothing", conn),
        )
        for lookup in lookups:
            with pytest.raises(psycopg2.ProgrammingError):
                lookup()
            assert status(conn) == IDLE


def test_pool_of_psycopg2(dsn: str) -> None:
    pool = psycopg2.pool.SimpleConnectionPool(1, 2, dsn)
    conn = pool.getconn()
    insert(conn)
    pool.putconn(conn)
    assert observed(conn, dsn) is Effect.ROLLBACK
    pool.closeall()
    assert conn.closed


@pytest.mark.parametrize("fails", [False, True])
def test_pool_of_psycopg(fails: bool, dsn: str) -> None:
    block = PSYCOPG.handles[HandleKind.CONNECTION].with_block
    assert block is not None
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1) as pool:
        with suppress(ZeroDivisionError), pool.connection() as conn:
            insert(conn)
            if fails:
                raise ZeroDivisionError
        assert observed(conn, dsn) is (block.error if fails else block.success)
        conn = pool.getconn()
        conn.execute("DELETE FROM t")
        pool.putconn(conn)
        assert stored(dsn) == ([] if fails else [1])
    assert pool.closed


@pytest.mark.parametrize("fails", [False, True])
def test_blocks_of_asynchronous_psycopg_do_the_same(fails: bool, dsn: str) -> None:
    block = PSYCOPG.handles[HandleKind.CONNECTION].with_block
    assert block is not None

    async def scenario() -> psycopg.AsyncConnection[Any]:
        conn = await psycopg.AsyncConnection.connect(dsn, connect_timeout=10)
        with suppress(ZeroDivisionError):
            async with conn:
                cur = conn.cursor()
                assert await cur.execute("INSERT INTO t VALUES (1)") is cur
                if fails:
                    raise ZeroDivisionError
        return conn

    conn = asyncio.run(scenario())
    assert bool(conn.closed) is block.closes
    assert stored(dsn) == ([] if fails else [1])


@BOTH
def test_paths_of_the_status_exist(spec: DriverSpec, dsn: str) -> None:
    with closing(opened(spec, dsn)) as conn:
        for path in spec.status_attributes:
            found = conn
            for name in path.split("."):
                found = getattr(found, name)
            assert int(found() if callable(found) else found) == IDLE
