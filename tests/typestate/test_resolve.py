"""What expressions are: driver, kind of handle, kind of key, mode."""

from __future__ import annotations

import pytest

from dbsafety.typestate.values import External, Function, Instance, Manager, handles
from tests.typestate.engine import Module

SHOP = """
import functools
import sqlite3
import psycopg2
import psycopg2.pool as pools
import psycopg
from contextlib import closing, nullcontext, ExitStack, contextmanager
from psycopg2 import connect as open_it
from psycopg2.extensions import connection as Conn, ISOLATION_LEVEL_AUTOCOMMIT

shared = psycopg2.connect("")
pool = pools.ThreadedConnectionPool(1, 2, "")
auto = psycopg.connect("", autocommit=True)
lite = sqlite3.connect("", isolation_level=None)
pair = (psycopg2.connect(""), 7)
by_name = {"one": psycopg2.connect("")}
run = lambda: 1

def made():
    return open_it("")

def made_auto():
    conn = psycopg2.connect("")
    conn.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    return conn

@functools.lru_cache(maxsize=None)
def cached():
    return psycopg2.connect("")

@contextmanager
def managed():
    conn = psycopg2.connect("")
    yield conn

class Base:
    kind = psycopg2
    def __init__(self, given: "Conn | None"):
        self.given = given
        self.conn = made()
        self.cur = self.conn.cursor()
        self.first, self.second = psycopg2.connect(""), None
    @property
    def live(self):
        return self.conn

class Store(Base):
    def use(self):
        local = made()
        alias = self.conn
        walked = (deep := self.conn.cursor())
        for each in [self.conn]:
            each.rollback()
        with closing(made()) as closed, nullcontext(local) as same, managed() as inside:
            pass
        with self.conn.cursor() as block, pool.getconn() as never:
            pass
        taken = pool.getconn()
        self.run, shared, auto, lite, pair[0], by_name["one"], made_auto(), cached(), closed, same, inside
        self.given, self.first, self.live, self.cur.connection, alias.cursor(), made, run, closing(local), self.kind
        local, alias, deep, each, block, taken, unknown, self.second, made().info, managed(), self
"""
module = Module(SHOP)


@pytest.mark.parametrize(
    ("expression", "handle"),
    [
        ("shared", ("psycopg2", "connection", "global", "transaction")),
        ("auto", ("psycopg", "connection", "global", "autocommit")),
        ("lite", ("sqlite3", "connection", "global", "autocommit")),
        ("pair[0]", ("psycopg2", "connection", "site", "transaction")),
        ("by_name['one']", ("psycopg2", "connection", "site", "transaction")),
        ("made_auto()", ("psycopg2", "connection", "site", "autocommit")),
        ("cached()", ("psycopg2", "connection", "global", "transaction")),
        ("local", ("psycopg2", "connection", "local", "transaction")),
        ("alias", ("psycopg2", "connection", "attr", "transaction")),
        ("alias.cursor()", ("psycopg2", "cursor", "attr", "transaction")),
        ("deep", ("psycopg2", "cursor", "attr", "transaction")),
        ("each", ("psycopg2", "connection", "attr", "transaction")),
        ("closed", ("psycopg2", "connection", "local", "transaction")),
        ("same", ("psycopg2", "connection", "local", "transaction")),
        ("inside", ("psycopg2", "connection", "local", "transaction")),
        ("block", ("psycopg2", "cursor", "attr", "transaction")),
        ("taken", ("psycopg2", "connection", "local", "transaction")),
        ("self.given", ("psycopg2", "connection", "attr", "transaction")),
        ("self.first", ("psycopg2", "connection", "attr", "transaction")),
        ("self.live", ("psycopg2", "connection", "attr", "transaction")),
        ("self.cur.connection", ("psycopg2", "connection", "attr", "transaction")),
        ("unknown", None),
        ("self.second", None),
        ("made().info", None),
    ],
)
def test_handles(expression: str, handle: tuple[str, str, str, str] | None) -> None:
    assert module.handle(expression, "Store.use") == handle


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("made", Function),
        ("run", Function),
        ("closing(local)", Manager),
        ("managed()", Manager),
        ("self", Instance),
        ("self.kind", External),
    ],
)
def test_what_leads_to_them(expression: str, kind: type) -> None:
    (value,) = module.values(expression, "Store.use")
    assert isinstance(value, kind)


def test_cursor_and_connection_share_their_key() -> None:
    found = [handles(module.values(expression, "Store.use")) for expression in ("alias", "self.cur.connection")]
    assert len({handle.key for some in found for handle in some}) == 1


def test_cycles_end() -> None:
    cyclic = Module("""
        import psycopg2
        def one(): return two()
        def two(): return one() or psycopg2.connect("")
        found = one()
        found
    """)
    assert cyclic.handle("found") == ("psycopg2", "connection", "global", "transaction")


def test_parameters_named_like_connections_that_are_both_given_cursors() -> None:
    copying = Module("""
        import psycopg2
        def copy(conn, connection):
            conn.execute("SELECT 1"), connection.execute("SELECT 2")
        def go(one: "psycopg2.extensions.connection"):
            copy(one.cursor(), one.cursor())
    """)
    assert copying.handle("conn", "copy") == ("psycopg2", "cursor", "param", "transaction")
    assert copying.handle("connection", "copy") == ("psycopg2", "cursor", "param", "transaction")


@pytest.mark.parametrize(
    ("level", "mode"),
    [
        ("ISOLATION_LEVEL_AUTOCOMMIT if flag else ISOLATION_LEVEL_DEFAULT", "unknown"),
        ("ISOLATION_LEVEL_DEFAULT if flag else ISOLATION_LEVEL_AUTOCOMMIT", "unknown"),
        ("ISOLATION_LEVEL_DEFAULT if flag else ISOLATION_LEVEL_SERIALIZABLE", "transaction"),
        ("flag", "unknown"),
    ],
)
def test_a_mode_that_may_be_either_is_unknown(level: str, mode: str) -> None:
    switching = Module(f"""
        import psycopg2
        from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, ISOLATION_LEVEL_DEFAULT
        from psycopg2.extensions import ISOLATION_LEVEL_SERIALIZABLE
        def work(flag):
            level = {level}
            conn = psycopg2.connect("")
            conn.set_isolation_level(level)
            conn
    """)
    assert switching.handle("conn", "work") == ("psycopg2", "connection", "local", mode)


def test_a_function_without_a_body_returns_what_it_is_declared_to() -> None:
    stub = Module("""
        import psycopg2
        def opened() -> "psycopg2.extensions.connection": ...
        def told() -> "psycopg2.extensions.connection":
            return 7
        one = opened()
        two = told()
        one, two
    """)
    assert stub.handle("one") == ("psycopg2", "connection", "global", "transaction")
    assert stub.handle("two") is None


def test_what_is_given_back_of_an_unknown_argument_is_not_the_parameter_itself() -> None:
    giving = Module("""
        from psycopg2.extensions import connection
        def same(conn: connection):
            return conn
        def work(thing):
            here = same(thing)
            here
        shared = same(thing)
        shared
    """)
    assert giving.handle("here", "work") == ("psycopg2", "connection", "borrowed", "transaction")
    assert giving.handle("shared") == ("psycopg2", "connection", "global", "transaction")
