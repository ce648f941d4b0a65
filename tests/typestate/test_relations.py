"""Summaries: what a function does to the state of a connection, on every way out."""

from __future__ import annotations

import pytest

from dbsafety.typestate.automaton import State
from dbsafety.typestate.relation import Start
from tests.typestate.engine import CLOSED, FAILED, IDLE, OPEN, Module

HELPERS = Module("""
    import contextlib
    import sys
    import psycopg2
    from psycopg2.extensions import connection, cursor

    def sends(conn: connection):
        conn.cursor().execute("DELETE FROM item")

    def rolls_back(conn: connection):
        conn.rollback()

    def guarded(conn: connection):
        with contextlib.suppress(psycopg2.Error):
            conn.rollback()

    def on_one_branch(conn: connection, really: bool):
        if really:
            conn.rollback()

    def through_another(conn: connection):
        guarded(conn)

    def by_keyword(conn: connection):
        guarded(conn=conn)

    def closes(conn: connection):
        conn.close()

    def commits(conn: connection):
        conn.commit()

    def raises(conn: connection):
        conn.cursor()
        raise RuntimeError("no")

    def exits(conn: connection):
        conn.cursor()
        sys.exit(1)

    def swallows(conn: connection):
        try:
            sends(conn)
        except psycopg2.Error:
            pass

    def reraises(conn: connection):
        try:
            sends(conn)
        except psycopg2.Error:
            conn.rollback()
            raise

    def of_cursor(cur: cursor):
        cur.connection.rollback()

    def asks(conn: connection):
        if not conn.closed:
            conn.rollback()

    def counts_down(conn: connection, n: int):
        if n:
            counts_down(conn, n - 1)
        else:
            conn.rollback()

    def ping(conn: connection, n: int):
        if n:
            pong(conn, n - 1)

    def pong(conn: connection, n: int):
        ping(conn, n)
        conn.rollback()

    def never_ends(conn: connection):
        conn.cursor()
        never_ends(conn)
""")


@pytest.mark.parametrize(
    ("function", "states"),
    [
        ("sends", set()),
        ("rolls_back", {"idle"}),
        ("guarded", {"idle", "closed"}),
        ("on_one_branch", {"idle", "failed"}),
        ("through_another", {"idle", "closed"}),
        ("by_keyword", {"idle", "closed"}),
        ("closes", {"closed"}),
        ("commits", {"idle"}),
        ("raises", set()),
        ("exits", set()),
        ("of_cursor", {"idle"}),
        ("asks", {"idle"}),
        ("counts_down", {"idle"}),
        ("ping", {"idle", "failed"}),
        ("pong", {"idle"}),
        ("never_ends", set()),
    ],
)
def test_where_a_failed_transaction_goes(function: str, states: set[str]) -> None:
    assert HELPERS.normal(function, FAILED) == states


def test_what_a_statement_does() -> None:
    assert HELPERS.ways("sends", IDLE) >= {("normal", "open"), ("db", "failed")}
    assert HELPERS.normal("swallows", IDLE) == {"open", "failed", "idle"}  # idle: making the cursor failed
    assert HELPERS.normal("reraises", IDLE) == {"open"}
    assert ("db", "idle") in HELPERS.ways("reraises", IDLE)
    assert ("db", "failed") not in HELPERS.ways("reraises", IDLE)


def test_what_a_caller_is_told_of_a_failed_transaction() -> None:
    assert ("seen statement", "failed") in HELPERS.ways("sends", FAILED)
    assert ("seen commit", "failed") in HELPERS.ways("commits", FAILED)


def test_ways_out_by_kind() -> None:
    assert {way for way, _ in HELPERS.ways("raises", OPEN)} == {"other", "db"}
    assert {way for way, _ in HELPERS.ways("exits", OPEN)} == {"base", "db"}
    assert HELPERS.ways("closes", CLOSED) == {("normal", "closed")}


def test_which_functions_return_at_all() -> None:
    names = ("raises", "exits", "sends", "never_ends")
    told = {name: HELPERS.summaries.returns(HELPERS.function(name)) for name in names}
    assert told == {"raises": False, "exits": False, "sends": True, "never_ends": True}


MANAGERS = Module("""
    import contextlib
    import psycopg2

    class Database:
        def __init__(self, dsn):
            self.conn = psycopg2.connect(dsn)

        @contextlib.contextmanager
        def unit(self):
            try:
                yield self.conn
                self.conn.commit()
            except Exception:
                self.conn.rollback()
                raise

        @contextlib.contextmanager
        def swallows(self):
            with contextlib.suppress(psycopg2.Error):
                yield self.conn

        @contextlib.contextmanager
        def finally_rolls_back(self):
            try:
                yield self.conn
            finally:
                self.conn.rollback()

        def __exit__(self, kind, error, trace):
            if kind is not None:
                self.conn.rollback()
                return True
            self.conn.commit()
""")


def test_a_generator_manager_from_entry_to_yield() -> None:
    assert ("yield", "idle") in MANAGERS.ways("Database.unit", IDLE)


@pytest.mark.parametrize(
    ("manager", "start", "state", "ways"),
    [
        ("unit", Start.RESUME, OPEN, {("normal", "idle"), ("db", "idle"), ("db", "closed")}),
        ("unit", Start.THROW_DB, FAILED, {("db", "idle"), ("db", "closed")}),
        ("unit", Start.THROW_BASE, OPEN, {("base", "open")}),
        ("swallows", Start.THROW_DB, FAILED, {("normal", "failed")}),
        ("swallows", Start.THROW_BASE, FAILED, {("base", "failed")}),
        ("finally_rolls_back", Start.THROW_DB, FAILED, {("db", "idle"), ("db", "closed")}),
        ("finally_rolls_back", Start.THROW_BASE, OPEN, {("base", "idle"), ("db", "closed")}),
    ],
)
def test_leaving_a_generator_manager(manager: str, start: Start, state: State, ways: set[tuple[str, str]]) -> None:
    subject = MANAGERS.connection("Database.unit")
    assert MANAGERS.ways(f"Database.{manager}", state, start, subject) == ways


def test_exit_knows_whether_there_is_an_exception() -> None:
    assert MANAGERS.normal("Database.__exit__", OPEN, Start.EXIT_OK) == {"idle"}
    ways = MANAGERS.ways("Database.__exit__", FAILED, Start.EXIT_RAISED)
    assert {way for way, _ in ways} == {"normal", "true", "db"}
    assert ("seen commit", "failed") not in ways


@pytest.mark.parametrize("length", [5, 150])
def test_a_recovery_that_is_too_far_away_to_be_seen_is_supposed(length: int) -> None:
    between = "".join(f"def step{n}():\n    step{n + 1}()\n" for n in range(length))
    far = Module(
        "import psycopg2\nconn = psycopg2.connect('')\n"
        f"{between}def step{length}():\n    conn.rollback()\n"
        "def recover():\n    step0()\n"
        "def work():\n    try:\n        conn.cursor().execute('DELETE FROM t')\n"
        "    except psycopg2.Error:\n        recover()\n"
    )
    assert "failed" not in far.normal("work", IDLE)
