"""What a statement does, told from its text."""

from __future__ import annotations

import pytest

from dbsafety.facts.sql import UNKNOWN, Conflict, Verb, classify, shorten


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("SELECT 1", Verb.READ),
        ("  -- why\n select 1", Verb.READ),
        ("/* why */ (SELECT 1) UNION (SELECT 2)", Verb.READ),
        ("values (1)", Verb.READ),
        ("INSERT INTO item VALUES (1)", Verb.WRITE),
        ("update item set n = 1", Verb.WRITE),
        ("DELETE FROM item", Verb.WRITE),
        ("REPLACE INTO item VALUES (1)", Verb.WRITE),
        ("COPY item FROM STDIN", Verb.WRITE),
        ("WITH one AS (SELECT 1) SELECT * FROM one", Verb.READ),
        ("WITH gone AS (DELETE FROM item RETURNING *) SELECT * FROM gone", Verb.WRITE),
        ("CREATE TABLE item (id INTEGER)", Verb.DDL),
        ("TRUNCATE item", Verb.DDL),
        ("BEGIN", Verb.BEGIN),
        ("START TRANSACTION", Verb.BEGIN),
        ("COMMIT", Verb.COMMIT),
        ("END", Verb.COMMIT),
        ("ROLLBACK", Verb.ROLLBACK),
        ("rollback;", Verb.ROLLBACK),
        ("ABORT", Verb.ROLLBACK),
        ("SAVEPOINT one", Verb.SAVEPOINT),
        ("RELEASE SAVEPOINT one", Verb.RELEASE),
        ("ROLLBACK TO SAVEPOINT one", Verb.ROLLBACK_TO),
        ("rollback to one", Verb.ROLLBACK_TO),
        ("ROLLBACK TRANSACTION TO one", Verb.ROLLBACK_TO),
        ("PRAGMA busy_timeout = 1", Verb.OTHER),
        ("SET statement_timeout = 1", Verb.OTHER),
        ("{} INTO item", Verb.UNKNOWN),
        ("no sql at all", Verb.UNKNOWN),
        ("", Verb.UNKNOWN),
    ],
)
def test_verbs(text: str, verb: Verb) -> None:
    assert classify(text).verb is verb


def test_no_text_is_an_unknown_statement() -> None:
    assert classify(None) is UNKNOWN
    assert not UNKNOWN.writes


@pytest.mark.parametrize(
    ("text", "conflict"),
    [
        ("INSERT OR IGNORE INTO item VALUES (1)", Conflict.IGNORE),
        ("insert or\n  replace into item values (1)", Conflict.REPLACE),
        ("REPLACE INTO item VALUES (1)", Conflict.REPLACE),
        ("INSERT INTO item VALUES (1) ON CONFLICT DO NOTHING", Conflict.NOTHING),
        ("INSERT INTO item VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 1", Conflict.UPDATE),
        ("INSERT INTO item VALUES (1)", None),
        ("INSERT INTO item VALUES ('OR IGNORE ON CONFLICT DO NOTHING')", None),
        ("INSERT INTO item VALUES (1) -- OR IGNORE", None),
        ("SELECT 'INSERT OR IGNORE'", None),
    ],
)
def test_conflict_clauses_outside_of_strings_and_comments(text: str, conflict: Conflict | None) -> None:
    assert classify(text).conflict is conflict


def test_what_else_is_told() -> None:
    statement = classify('INSERT INTO "Item" (id) VALUES (1) RETURNING id')
    assert (statement.word, statement.table, statement.returning, statement.cte) == ("INSERT", "item", True, False)
    assert classify("WITH one AS (SELECT 1) INSERT INTO item SELECT * FROM one").cte
    assert [classify(f"BEGIN {kind}").immediate for kind in ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE")] == [
        False,
        False,
        True,
        True,
    ]


def test_texts_are_cut_for_messages() -> None:
    assert shorten("SELECT\n  `id`  FROM item", 40) == "SELECT 'id' FROM item"
    assert shorten("SELECT id FROM item", 9) == "SELECT i…"
    assert shorten(None) == ""
