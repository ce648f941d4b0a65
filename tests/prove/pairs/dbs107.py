"""The golden pairs of DBS107: which rows of a loop are stored."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

SETUP = ("CREATE TABLE item (id int PRIMARY KEY, name varchar(1))",)
NAMES = ("CREATE TABLE item (name text PRIMARY KEY)",)
KNOWN = ("INSERT INTO item VALUES (2, 'k')",)
ROWS = "[(1, 'a'), (2, 'b'), (3, 'c')]"
ALL = "stored('SELECT id FROM item ORDER BY 1')"
BOTH = "stored('SELECT name FROM item ORDER BY 1')"
UPDATED = "stored('SELECT name FROM item ORDER BY 1')"
OLD = ("INSERT INTO item VALUES (1, 'x'), (2, 'y')", "ALTER TABLE item ADD CHECK (id <> 1 OR name = 'x')")

PAIRS = (
    Pair(
        "fix_rows",
        "psycopg2",
        SETUP,
        (
            Call("skip_bad_rows", f"skip_bad_rows(conn, {ROWS})", "InFailedSqlTransaction", breaks=KNOWN),
            Call("bare_rollbacks", f"bare_rollbacks(conn, {ROWS})", "then: [(2,), (3,)]", breaks=KNOWN, then=ALL),
            Call(
                "bare_rollbacks",
                "bare_rollbacks(conn, [(1, 'a'), (2, 'long'), (3, 'c')])",
                "then: [(3,)]",
                f"bare_rollbacks(conn, {ROWS})",
                then=ALL,
            ),
            Call(
                "commit_only_on_success",
                "commit_only_on_success(conn, [1, 'a'])",
                "then: [('a',)]",
                "commit_only_on_success(conn, ['a'])",
                breaks=("INSERT INTO item VALUES (1, 'a')",),
                then=BOTH,
            ),
            Call(
                "Importer.load",
                "keep(Importer(address)).load([(1, 'a'), (2, 'b')])",
                "then: [('x',), ('y',)]",
                breaks=OLD,
                then=UPDATED,
            ),
        ),
    ),
    Pair(
        "fix_nested", "psycopg", NAMES, (Call("load", "load(conn, ['a', 'a', 'b'])", "InFailed", "load(conn, ['a'])"),)
    ),
    Pair(
        "fix_asyncpg",
        "psycopg2",
        NAMES,
        (
            Call(
                "load_asynchronously",
                "awaited(load_asynchronously, ['a', 'a', 'b'])",
                "InFailedSQLTransactionError",
                "awaited(load_asynchronously, ['a'])",
            ),
        ),
    ),
)
