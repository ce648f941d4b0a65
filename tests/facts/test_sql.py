"""What a statement does, told from its text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbsafety.facts.sql import UNKNOWN, Conflict, Verb, classify, shorten, statements
from dbsafety.facts.tokens import LIMIT, Kind, split


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


def spoken_words(text: str) -> str:
    parts = split(text)
    if parts is None:
        return "unknown"
    shown = {Kind.WORD: "{}", Kind.NAME: "<{}>", Kind.HOLE: "hole"}
    return " ; ".join(" ".join(shown[t.kind].format(t.text) for t in part if t.kind in shown) for part in parts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELECT 1 /* INSERT; */ FROM t -- DELETE", "SELECT FROM T"),
        ("-- INSERT\nSELECT a", "SELECT A"),
        ("SELECT 1 /* a /* b */ INSERT */ + 2", "unknown"),
        ("SELECT 'it''s; INSERT' AS x", "SELECT AS X"),
        ("SELECT 'C:\\' AS x, 'INSERT'", "SELECT AS X"),
        (
            "SELECT id FROM t WHERE a LIKE '%x%' ESCAPE '\\' AND b = 'INSERT'",
            "SELECT ID FROM T WHERE A LIKE ESCAPE AND B",
        ),
        ("SELECT E'it\\'s; INSERT' AS x", "SELECT AS X"),
        ("SELECT x'ab', B'01', U&'d', N'e' FROM t", "SELECT FROM T"),
        ("SELECT $tag$ INSERT; $$ $tag$ AS x", "SELECT AS X"),
        ("DO $$ BEGIN INSERT INTO t VALUES (1); END $$; SELECT 1", "DO ; SELECT"),
        ('SELECT "from", "a""b" FROM "my table"', 'SELECT <from> <a"b> FROM <my table>'),
        ('SELECT "a\\" FROM "t"', "SELECT <a\\> FROM <t>"),
        ("SELECT `from` FROM `t`", "SELECT <from> FROM <t>"),
        ("SELECT [from] FROM [my t]", "SELECT <from> FROM <my t>"),
        ("SELECT a[1], b[i] FROM t", "SELECT A B I FROM T"),
        ("SELECT a FROM t WHERE b = %s AND c = %(insert)s", "SELECT A FROM T WHERE B AND C"),
        ("SELECT a FROM t WHERE b = ? AND c = ?1 AND d = :insert", "SELECT A FROM T WHERE B AND C AND D"),
        ("SELECT a FROM t WHERE b = $1::text AND c = @insert", "SELECT A FROM T WHERE B TEXT AND C"),
        ("SELECT a%b, a %some, a # b, c #>> '{d}' FROM t", "SELECT A B A SOME A B C FROM T"),
        ("INSERT INTO {} ({}) VALUES ({})", "INSERT INTO hole hole VALUES hole"),
        ("SELECT a FROM t_{} WHERE b = {}", "SELECT A FROM hole WHERE B hole"),
        ("SELECT 'unclosed INSERT", "SELECT"),
        ("SELECT 1 /* unclosed INSERT", "SELECT"),
        ("SELECT naïve FROM überzahl", "SELECT NAÏVE FROM ÜBERZAHL"),
        ("SELECT 1.5e3, 0x1F, .5 FROM t", "SELECT FROM T"),
        ("BEGIN IMMEDIATE; UPDATE t SET a = 1; COMMIT", "BEGIN IMMEDIATE ; UPDATE T SET A ; COMMIT"),
        (
            "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE u SET n = CASE WHEN a THEN 1 END; END; SELECT 1",
            "CREATE TRIGGER G AFTER INSERT ON T BEGIN UPDATE U SET N CASE WHEN A THEN END END ; SELECT",
        ),
        ("SELECT 1; -- the end\n;", "SELECT"),
        ("", ""),
        ("x" * (LIMIT + 1), "unknown"),
    ],
)
def test_text_comments_names_and_parameters_are_no_keywords(text: str, words: str) -> None:
    assert spoken_words(text) == words


@pytest.mark.parametrize(
    ("text", "reads", "targets"),
    [
        ("SELECT a FROM t", "t", ""),
        (
            'SELECT a FROM public."Order" AS o, u v JOIN w ON w.a = o.a LEFT JOIN x USING (a)',
            "public.order u w x",
            "",
        ),
        ("SELECT a FROM (SELECT b FROM t WHERE c) AS s, u", "u t", ""),
        ("SELECT EXTRACT(year FROM a), trim(both FROM b) FROM t WHERE a IS DISTINCT FROM b", "t", ""),
        ("SELECT a FROM generate_series(1, 9) AS a JOIN unnest(b) AS c ON true", "", ""),
        ("SELECT a FROM {} JOIN t_{} ON true", "", ""),
        ("SELECT a FROM %s", "", ""),
        ("SELECT (SELECT max(n) FROM t), EXISTS (SELECT 1 FROM ONLY u)", "t u", ""),
        ("INSERT INTO t (a) SELECT a FROM u WHERE NOT EXISTS (SELECT 1 FROM t)", "u t", "t"),
        ("UPDATE OR IGNORE t SET a = 1 FROM u WHERE u.id = t.id", "u", "t"),
        ("DELETE FROM ONLY t USING u WHERE a IN (SELECT a FROM v)", "u v", "t"),
        ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "", "t"),
        ("SELECT a FROM t FOR UPDATE OF t", "t", ""),
        ("TRUNCATE t", "", "t"),
        ("CREATE TABLE IF NOT EXISTS main.t (a TEXT)", "", "main.t"),
        ("CREATE TEMP TABLE t AS SELECT * FROM u", "u", "t"),
        ("COPY t FROM STDIN", "stdin", "t"),
        ("WITH a AS (SELECT 1 FROM t), b (c) AS MATERIALIZED (DELETE FROM u) SELECT * FROM a, b", "t", "u"),
    ],
)
def test_tables(text: str, reads: str, targets: str) -> None:
    statement = classify(text)
    assert (" ".join(statement.reads), " ".join(statement.targets)) == (reads, targets)


@pytest.mark.parametrize(
    ("text", "verbs", "whole"),
    [
        ("SELECT 1", [Verb.READ], Verb.READ),
        ("SELECT 1; UPDATE t SET a = 1; CREATE TABLE u (a)", [Verb.READ, Verb.WRITE, Verb.DDL], Verb.WRITE),
        ("SET a = 1; SELECT 1", [Verb.OTHER, Verb.READ], Verb.READ),
        ("BEGIN; DELETE FROM t", [Verb.BEGIN, Verb.WRITE], Verb.BEGIN),
        ("BEGIN; DELETE FROM t; COMMIT", [Verb.BEGIN, Verb.WRITE, Verb.COMMIT], Verb.COMMIT),
        ("DELETE FROM t; ROLLBACK", [Verb.WRITE, Verb.ROLLBACK], Verb.ROLLBACK),
        ("COMMIT; DELETE FROM t", [Verb.COMMIT, Verb.WRITE], Verb.WRITE),
        ("COMMIT; SELECT 1", [Verb.COMMIT, Verb.READ], Verb.COMMIT),
        ("SELECT 1; {}", [Verb.READ, Verb.UNKNOWN], Verb.UNKNOWN),
        ("SAVEPOINT a; RELEASE a", [Verb.SAVEPOINT, Verb.RELEASE], Verb.SAVEPOINT),
    ],
)
def test_texts_of_several_statements(text: str, verbs: list[Verb], whole: Verb) -> None:
    assert [part.verb for part in statements(text)] == verbs
    assert classify(text).verb is whole


def test_several_statements_have_the_tables_of_all() -> None:
    whole = classify("SELECT pg_advisory_lock(1); INSERT INTO t SELECT * FROM u; INSERT INTO v DEFAULT VALUES")
    assert (whole.word, whole.table, whole.reads, whole.targets, whole.holds) == (
        "INSERT",
        "t",
        ("u",),
        ("t", "v"),
        True,
    )


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("SELECT 1 FROM t WHERE a = 1 FOR UPDATE SKIP LOCKED", "where holds"),
        ("SELECT 1 FROM t FOR NO KEY UPDATE", "holds"),
        ("SELECT pg_try_advisory_xact_lock(1)", "holds"),
        ("SELECT pg_advisory_unlock(1)", ""),
        ("LOCK TABLE t IN EXCLUSIVE MODE", "holds"),
        ("CREATE TABLE t (a TEXT UNIQUE ON CONFLICT IGNORE)", "absorbs"),
        ("CREATE TABLE t (a TEXT UNIQUE)", ""),
        ("INSERT INTO t ({}) VALUES ({})", ""),
        ("INSERT INTO t (a) VALUES (%s) {}", "partial"),
        ("INSERT INTO {} (a) VALUES (1)", "partial"),
    ],
)
def test_conditions_locks_and_unknown_parts(text: str, facts: str) -> None:
    statement = classify(text)
    assert [name for name in ("where", "holds", "absorbs", "partial") if getattr(statement, name)] == facts.split()


def test_conflict_clauses_are_those_of_the_insert() -> None:
    assert classify("INSERT INTO t SELECT 1 FROM u WHERE a OR ignore").conflict is None
    assert classify('INSERT INTO t ("or ignore") VALUES (1)').conflict is None
    assert classify("UPDATE OR IGNORE t SET a = 1").conflict is Conflict.IGNORE
    assert classify("WITH a AS (SELECT replace(b, 'x', 'y') FROM t) SELECT * FROM a").verb is Verb.READ


PIECES = (
    *(
        "SELECT",
        "FROM",
        "INSERT INTO",
        "UPDATE",
        "WITH",
        "AS",
        "BEGIN",
        "END",
        "CREATE TRIGGER",
        "WHERE",
        "ON CONFLICT",
    ),
    *(
        "a",
        "_b",
        "{}",
        "{x}",
        "%s",
        ":c",
        "$1",
        "é",
        "1.5",
        "'",
        '"',
        "`",
        "[",
        "]",
        "$$",
        "$t$",
        "--",
        "/*",
        "*/",
        "\\",
    ),
    *("(", ")", ",", ".", ";", "\n", " ", "=", "\x00"),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(("", " ")))
def test_any_text_is_read_and_says_the_same_twice(pieces: list[str], glue: str) -> None:
    text = glue.join(pieces)
    found = statements(text)
    assert all(name == name.lower() and "{" not in name for part in found for name in (*part.reads, *part.targets))
    assert statements.__wrapped__(text) == found
    assert classify(text) in (UNKNOWN, *found) or len(found) > 1
