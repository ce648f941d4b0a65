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
PARTS = ("CREATE TABLE item (name varchar(4))", "CREATE TABLE part (name varchar(1) PRIMARY KEY)")
KNOWN_PART = ("INSERT INTO part VALUES ('a')",)
COPIED = (
    "CREATE TABLE item (id int PRIMARY KEY)",
    "CREATE TABLE copy (id int PRIMARY KEY)",
    "INSERT INTO item VALUES (1), (2)",
)

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
    Pair(
        "fix_inside",
        "psycopg2",
        PARTS,
        (
            Call(
                "rows_with_parts",
                "rows_with_parts(conn, [('a',), ('b',)])",
                "InFailedSqlTransaction",
                breaks=KNOWN_PART,
            ),
            Call(
                "rows_with_parts",
                "rows_with_parts(conn, [('a',), ('long',), ('b',)])",
                "then: False",
                "rows_with_parts(conn, [('a',), ('b',)])",
                then=f"{BOTH} == [('a',), ('b',)]",
            ),
            Call(
                "put_parts",
                "(put_parts(conn.cursor(), ('a', 'b')), conn.commit())",
                "InFailedSqlTransaction",
                breaks=KNOWN_PART,
            ),
            Call(
                "rows_by_call",
                "rows_by_call(conn, [('a',), ('long',), ('b',)])",
                "then: False",
                "rows_by_call(conn, [('a',), ('b',)])",
                then=f"{BOTH} == [('a',), ('b',)]",
            ),
            Call(
                "closure",
                "closure(conn, [('a',), ('longer',)])",
                "then: False",
                "closure(conn, [('a',), ('b',)])",
                then=f"{BOTH} == [('a',)]",
            ),
        ),
    ),
    Pair(
        "fix_results",
        "psycopg2",
        COPIED,
        (
            Call(
                "loops_over_the_cursor",
                "loops_over_the_cursor(conn)",
                "then: False",
                breaks=("INSERT INTO copy VALUES (1)",),
                then="stored('SELECT id FROM copy ORDER BY 1') == [(1,), (2,)]",
            ),
            Call(
                "counts_afterwards",
                "counts_afterwards(conn, [(3,), (1,), (4,)])",
                "then: False",
                "counts_afterwards(conn, [(3,), (4,)])",
                then=f"{ALL} == [(1,), (2,), (3,), (4,)]",
            ),
            Call(
                "sends_again",
                "sends_again(conn, [(1,), (3,)])",
                "InFailedSqlTransaction",
                "sends_again(conn, [(3,), (4,)])",
            ),
        ),
    ),
)
