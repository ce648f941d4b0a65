"""Rows of the automaton against the observed facts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dbsafety.drivers.psycopg import PSYCOPG
from dbsafety.drivers.psycopg2 import PSYCOPG2
from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.drivers.sqlalchemy import SQLALCHEMY
from dbsafety.drivers.sqlite3 import SQLITE3
from dbsafety.facts.sql import classify
from dbsafety.typestate.automaton import Outcome, Raised, Seen, State, Tx, idle, leave, perform
from dbsafety.typestate.values import Mode

IDLE = State(Tx.IDLE)
OPEN = State(Tx.OPEN)
FAILED = State(Tx.FAILED)
CLOSED = State(Tx.CLOSED)
AUTO = State(Tx.IDLE, auto=True)
POSTGRES = pytest.mark.parametrize("spec", [PSYCOPG2, PSYCOPG], ids=lambda spec: spec.name)


def run(spec: DriverSpec, sql: str, state: State) -> Outcome:
    return perform(spec, Effect.EXECUTE, state, classify(sql))


def after(outcome: Outcome) -> list[Tx]:
    return [state.tx for state in outcome.normal]


def failed(outcome: Outcome) -> list[Tx]:
    return [state.tx for kind, state in outcome.raised if kind is Raised.DB]


@POSTGRES
class TestPostgres:
    @pytest.mark.parametrize("sql", ["SELECT 1", "INSERT INTO item VALUES (1)", "CREATE TABLE item ()", "{}"])
    def test_any_failed_statement_aborts(self, spec: DriverSpec, sql: str) -> None:  # B1a
        for state in (IDLE, OPEN):
            outcome = run(spec, sql, state)
            assert (after(outcome), failed(outcome)) == ([Tx.OPEN], [Tx.FAILED])

    def test_in_an_aborted_transaction_every_statement_fails(self, spec: DriverSpec) -> None:  # B1a
        outcome = run(spec, "SELECT 1", FAILED)
        assert (after(outcome), failed(outcome), outcome.seen) == ([], [Tx.FAILED], Seen.STATEMENT)

    def test_commit_of_an_aborted_transaction_returns_and_is_a_rollback(self, spec: DriverSpec) -> None:  # B2
        for outcome in (perform(spec, Effect.COMMIT, FAILED), run(spec, "COMMIT", FAILED)):
            assert (after(outcome), outcome.seen) == ([Tx.IDLE], Seen.COMMIT)

    def test_a_commit_that_fails_has_rolled_back(self, spec: DriverSpec) -> None:  # B1d
        assert failed(perform(spec, Effect.COMMIT, OPEN)) == [Tx.IDLE]

    def test_rollback_ends_and_a_failing_one_means_the_connection_is_gone(self, spec: DriverSpec) -> None:  # B3
        for state in (IDLE, OPEN, FAILED):
            outcome = perform(spec, Effect.ROLLBACK, state)
            assert (after(outcome), failed(outcome)) == ([Tx.IDLE], [Tx.CLOSED])

    def test_rollback_on_a_closed_connection_raises(self, spec: DriverSpec) -> None:  # B3c
        assert failed(perform(spec, Effect.ROLLBACK, CLOSED)) == [Tx.CLOSED]
        assert failed(perform(spec, Effect.CLOSE, CLOSED)) == []

    def test_fetching_and_making_a_cursor_change_nothing(self, spec: DriverSpec) -> None:  # B15
        for effect in (Effect.FETCH, Effect.MAKE):
            outcome = perform(spec, effect, OPEN)
            assert (after(outcome), failed(outcome)) == ([Tx.OPEN], [Tx.OPEN])

    def test_asking_fails_in_an_aborted_transaction_only(self, spec: DriverSpec) -> None:  # B2, B10a
        for state, tx in ((IDLE, Tx.OPEN), (OPEN, Tx.OPEN), (AUTO, Tx.IDLE)):
            outcome = perform(spec, Effect.ASK, state)
            assert (after(outcome), failed(outcome), outcome.seen) == ([tx], [tx], None)
        outcome = perform(spec, Effect.ASK, FAILED)
        assert (after(outcome), failed(outcome), outcome.seen) == ([], [Tx.FAILED], Seen.STATEMENT)

    def test_in_autocommit_a_failed_statement_is_harmless(self, spec: DriverSpec) -> None:  # B5b
        assert failed(run(spec, "INSERT INTO item VALUES (1)", AUTO)) == [Tx.IDLE]

    def test_an_explicit_begin_aborts_in_autocommit_too(self, spec: DriverSpec) -> None:  # B3b
        (begun,) = run(spec, "BEGIN", AUTO).normal
        assert failed(run(spec, "SELECT 1", begun)) == [Tx.FAILED]

    def test_savepoints(self, spec: DriverSpec) -> None:  # B6
        assert after(run(spec, "ROLLBACK TO SAVEPOINT one", FAILED)) == [Tx.OPEN]
        assert after(run(spec, "RELEASE SAVEPOINT one", FAILED)) == []
        assert after(run(spec, "ROLLBACK", FAILED)) == [Tx.IDLE]


class TestSqlite:
    def test_a_write_opens_the_transaction_also_when_it_fails(self) -> None:  # C3b, C5a
        outcome = run(SQLITE3, "INSERT INTO item VALUES (1)", IDLE)
        assert (after(outcome), failed(outcome)) == ([Tx.OPEN], [Tx.FAILED])

    @pytest.mark.parametrize("sql", ["SELECT 1", "CREATE TABLE item (id)", "PRAGMA foreign_keys = ON", "{}"])
    def test_other_statements_leave_it_alone(self, sql: str) -> None:  # C5d, C8b
        outcome = run(SQLITE3, sql, IDLE)
        assert (after(outcome), failed(outcome)) == ([Tx.IDLE], [Tx.IDLE])

    def test_a_write_behind_with_commits_by_itself(self) -> None:  # C8c
        outcome = run(SQLITE3, "WITH one AS (SELECT 1) INSERT INTO item SELECT * FROM one", IDLE)
        assert (after(outcome), failed(outcome)) == ([Tx.IDLE], [Tx.IDLE])

    def test_a_commit_after_a_failed_write_tells_only_with_an_earlier_write(self) -> None:  # C5a
        assert perform(SQLITE3, Effect.COMMIT, FAILED).seen is None
        assert perform(SQLITE3, Effect.COMMIT, FAILED._replace(dirty=True)).seen is Seen.COMMIT

    def test_in_autocommit_nothing_is_held(self) -> None:  # C5d, C6b
        assert failed(run(SQLITE3, "INSERT INTO item VALUES (1)", AUTO)) == [Tx.IDLE]
        (begun,) = run(SQLITE3, "BEGIN", AUTO).normal
        assert failed(run(SQLITE3, "INSERT INTO item VALUES (1)", begun)) == [Tx.FAILED]

    @pytest.mark.parametrize("state", [IDLE, OPEN, OPEN._replace(dirty=True)])
    def test_a_script_commits_first_and_leaves_open_what_it_begins(self, state: State) -> None:  # C8a
        def script(sql: str) -> Outcome:
            return perform(SQLITE3, Effect.SCRIPT, state, classify(sql))

        for sql in ("DELETE FROM item; DELETE FROM log", "BEGIN; DELETE FROM item; COMMIT", "{}"):
            outcome = script(sql)
            assert (outcome.normal, failed(outcome)) == ((IDLE,), [Tx.IDLE])
        assert script("BEGIN; DELETE FROM item").normal == (OPEN,)

    def test_a_script_stores_the_half_of_a_failed_transaction(self) -> None:  # C5a, C8a
        assert perform(SQLITE3, Effect.SCRIPT, FAILED._replace(dirty=True)).seen is Seen.COMMIT
        assert perform(SQLITE3, Effect.SCRIPT, FAILED).seen is None


def test_an_unbound_name_raises_something_else() -> None:
    outcome = perform(PSYCOPG2, Effect.ROLLBACK, State(Tx.UNBOUND))
    assert (outcome.normal, [kind for kind, _ in outcome.raised]) == ((), [Raised.OTHER])


def test_an_unknown_mode_is_the_quiet_one() -> None:
    assert [idle(mode).auto for mode in (Mode.TRANSACTION, Mode.AUTOCOMMIT, Mode.UNKNOWN)] == [False, True, True]


@pytest.mark.parametrize(("spec", "closes"), [(PSYCOPG2, False), (SQLITE3, False), (PSYCOPG, True)])
def test_leaving_a_block_commits_and_closes_as_the_driver_does(spec: DriverSpec, closes: bool) -> None:  # B4a, C3a
    outcome = leave(spec, Effect.COMMIT, OPEN, closes=closes)
    assert after(outcome) == [Tx.CLOSED if closes else Tx.IDLE]


def test_leaving_a_block_of_a_failed_transaction_shows_the_commit() -> None:  # B2
    assert leave(PSYCOPG2, Effect.COMMIT, FAILED, closes=False).seen is Seen.COMMIT
    assert leave(PSYCOPG2, Effect.ROLLBACK, FAILED, closes=False).seen is None
    assert leave(PSYCOPG2, Effect.COMMIT, CLOSED, closes=False) == Outcome((CLOSED,))


def test_a_block_of_sqlite_rolls_back_what_it_cannot_commit(tmp_path: Path) -> None:
    assert failed(leave(SQLITE3, Effect.COMMIT, OPEN, closes=False)) == [Tx.IDLE]
    with closing(sqlite3.connect(tmp_path / "it.db", timeout=1.0)) as conn:
        conn.execute("PRAGMA foreign_keys = ON")
        conn.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, up REFERENCES item DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(sqlite3.IntegrityError), conn:
            conn.execute("INSERT INTO item (up) VALUES (5)")
        assert not conn.in_transaction


class TestSession:
    def test_a_commit_that_fails_waits_for_a_rollback(self) -> None:  # B10a
        for state in (IDLE, OPEN):
            assert failed(perform(SQLALCHEMY, Effect.COMMIT, state)) == [Tx.FAILED]
        assert failed(perform(SQLALCHEMY, Effect.COMMIT, AUTO)) == [Tx.IDLE]

    def test_a_commit_of_a_failed_session_ends_it_or_leaves_the_failure_as_it_was(self) -> None:  # B10a, B10b
        caught = FAILED._replace(by=3, left=True)
        outcome = perform(SQLALCHEMY, Effect.COMMIT, caught)
        assert (after(outcome), outcome.raised, outcome.seen) == ([Tx.IDLE], ((Raised.DB, caught),), Seen.COMMIT)

    def test_a_block_rolls_back_what_it_cannot_commit(self) -> None:
        outcome = leave(SQLALCHEMY, Effect.COMMIT, OPEN, closes=False)
        assert (after(outcome), failed(outcome)) == ([Tx.IDLE], [Tx.IDLE])
