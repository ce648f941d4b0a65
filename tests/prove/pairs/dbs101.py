"""The golden pairs of DBS101: what is left behind by a swallowed error."""

from __future__ import annotations

from tests.prove.pair import GONE, Call, Pair

ABORTED = "idle in transaction (aborted)"
SETUP = ("CREATE TABLE item (id int PRIMARY KEY, name text)",)
KNOWN = ("INSERT INTO item VALUES (1, 'known')",)
REFERRED = (
    "INSERT INTO item VALUES (1, 'a')",
    "CREATE TABLE part AS SELECT 1 AS item",
    "ALTER TABLE part ADD FOREIGN KEY (item) REFERENCES item",
)

PAIRS = (
    Pair("fix_alias", "psycopg", SETUP, (Call("add", "add(conn, (1, 'a'))", ABORTED, breaks=GONE),)),
    Pair(
        "fix_handlers",
        "psycopg2",
        SETUP,
        (
            Call("Store.add", "keep(Store(address)).add((1, 'a'))", ABORTED, breaks=KNOWN),
            Call("Store.one_line", "keep(Store(address)).one_line((1, 'a'))", ABORTED, breaks=GONE),
            Call("Store.with_cursor_only", "keep(Store(address)).with_cursor_only()", ABORTED, breaks=GONE),
        ),
    ),
    Pair(
        "fix_left_alone",
        "psycopg",
        SETUP,
        (
            Call("fixed", "fixed(conn)", ABORTED, breaks=GONE),
            Call("asynchronous", "awaited(asynchronous)", ABORTED, breaks=GONE),
        ),
    ),
    Pair(
        "fix_first",
        "psycopg2",
        SETUP,
        (
            Call("Store.add", "keep(Store(address)).add((1, 'a'))", ABORTED, breaks=KNOWN),
            Call("Store.count", "keep(Store(address)).count()", ABORTED, breaks=GONE),
            Call("Store.unlock", "keep(Store(address)).unlock()", ABORTED),
            Call("handed_in", "handed_in(conn, (1, 'a'))", ABORTED, breaks=KNOWN),
        ),
    ),
    Pair(
        "fix_savepoint",
        "psycopg2",
        ("CREATE TABLE migration (id int PRIMARY KEY)",),
        (
            Call(
                "apply",
                "apply_all(conn, [1, 1, 2])",
                "then: []",
                "apply_all(conn, [1, 2])",
                then="stored('SELECT id FROM migration')",
            ),
        ),
    ),
    Pair(
        "fix_reach",
        "psycopg2",
        SETUP,
        (
            Call("Store.inside_cursor_block", "keep(Store(address)).inside_cursor_block('a')", ABORTED, breaks=GONE),
            Call("Store.aliased", "keep(Store(address)).aliased('a')", ABORTED, breaks=GONE),
            Call("Store.optional", "keep(Store(address)).optional(address)", ABORTED, breaks=GONE),
            Call("by_cursor", "by_cursor(conn.cursor())", ABORTED, breaks=GONE),
            Call(
                "handed_out",
                "handed_out(address)",
                ABORTED,
                inject=(("SET search_path TO shop", "SELECT * FROM missing"),),
            ),
            Call("outer", "outer(conn)", ABORTED, breaks=REFERRED),
            Call("names_taken", "names_taken(conn, True)", ABORTED, breaks=GONE),
        ),
    ),
    Pair(
        "fix_of_others",
        "psycopg2",
        (
            "CREATE TABLE item (name text PRIMARY KEY)",
            "CREATE TABLE orders (id serial PRIMARY KEY)",
            "CREATE TABLE line (name text)",
        ),
        (
            Call(
                "Repository.try_to_add",
                "[(one.add('a'), one.try_to_add('a'), one.store()) for one in [keep(Repository(address))]]",
                "then: []",
                "[(one.add('a'), one.try_to_add('b'), one.store()) for one in [keep(Repository(address))]]",
                then="stored('SELECT name FROM item')",
            ),
            Call("put", "order(conn)", "then: []", breaks=("DROP TABLE line",), then="stored('SELECT id FROM orders')"),
        ),
    ),
    Pair(
        "fix_own_savepoint",
        "psycopg2",
        ("CREATE TABLE item (name text PRIMARY KEY)",),
        (Call("store", "store(conn, 'a')", "InFailedSqlTransaction", breaks=("INSERT INTO item VALUES ('a')",)),),
    ),
)
