"""The golden pairs of DBS103: what is stored of the rest, and what is committed without a word."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

SETUP = ("CREATE TABLE item (id int PRIMARY KEY, name text)", "CREATE TABLE log (text text)")
NAMES = ("CREATE TABLE item (name text PRIMARY KEY)", "CREATE TABLE log (text text)")
KNOWN = ("INSERT INTO item VALUES (1, 'known')",)
LONG = ("ALTER TABLE item ALTER COLUMN name TYPE varchar(1)",)
A = ("INSERT INTO item VALUES ('a')",)
LOG = "stored('SELECT text FROM log')"
LOST = "then: []"
SEVEN = ("INSERT INTO line VALUES (0, 7)",)
LINES = "stored('SELECT * FROM line ORDER BY 2')"
ORDERS = "stored('SELECT id FROM orders ORDER BY 1')"
ORDER = "then: [(1,)]"
SILENT = "commits an aborted transaction"

PAIRS = (
    Pair(
        "fix_savepoint",
        "psycopg2",
        SETUP,
        (
            Call("before", "before(conn, (1, 'a'))", LOST, breaks=KNOWN, then=LOG),
            Call("in_block", "in_block(conn, (1, 'a'))", LOST, breaks=KNOWN, then=LOG),
            Call("in_block", "in_block(conn, (1, 'long'))", LOST, "in_block(conn, (1, 'l'))", breaks=LONG, then=LOG),
            Call(
                "through_the_connection",
                "through_the_connection(after_insert(conn), (1, 'a'))",
                LOST,
                breaks=KNOWN,
                then=LOG,
            ),
        ),
    ),
    Pair(
        "fix_else",
        "psycopg2",
        SETUP,
        (
            Call("Importer.load", "Importer(strict()).load([(1, 'a')])", SILENT, breaks=KNOWN),
            Call("Importer.each", "Importer(strict()).each([(1, 'a')])", SILENT, breaks=KNOWN),
            Call("Importer.each", "Importer(strict()).each([(1, 'long')])", SILENT, breaks=LONG),
            Call("Importer.counted", "Importer(strict()).counted([(1, 'a')])", SILENT, breaks=KNOWN),
        ),
    ),
    Pair(
        "fix_nested",
        "psycopg",
        NAMES,
        (
            Call("inside", "inside(conn, 'a')", LOST, breaks=A, then=LOG),
            Call("inside_asynchronous", "awaited(inside_asynchronous, 'a')", LOST, breaks=A, then=LOG),
            Call("whole_connection", "whole_connection(address, 'a')", LOST, breaks=A, then=LOG),
            Call("by_text", "awaited(by_text, 'a')", LOST, breaks=A, then=LOG),
        ),
    ),
    Pair(
        "fix_asyncpg",
        "psycopg2",
        NAMES,
        (Call("once", "awaited(once, 'a')", LOST, breaks=A, then=LOG),),
    ),
    Pair(
        "fix_sqlite",
        "sqlite3",
        ("CREATE TABLE orders (id)", "CREATE TABLE line (orders, item UNIQUE)", "CREATE TABLE log (text)"),
        (
            Call("kept", "kept(conn, 1, [(1, 6), (1, 7)])", "(1, 6)", breaks=SEVEN, then=LINES),
            Call("after_more_work", "after_more_work(conn, 1, [(1, 6), (1, 7)])", "(1, 6)", breaks=SEVEN, then=LINES),
            Call("moved", "moved(conn, 1, 7)", ORDER, breaks=SEVEN, then=ORDERS),
            Call(
                "kept_from_the_turn_before",
                "kept_from_the_turn_before(conn, [(1, 7), (2, 8)])",
                "then: [(1,), (2,)]",
                breaks=SEVEN,
                then=ORDERS,
            ),
            Call("handler_works_on", "handler_works_on(conn, 1, 7)", ORDER, breaks=SEVEN, then=ORDERS),
        ),
    ),
    Pair(
        "fix_async",
        "sqlite3",
        ("CREATE TABLE orders (id)", "CREATE TABLE line (orders, item UNIQUE)", "CREATE TABLE log (text)"),
        (Call("kept", "awaited(kept, 1, 7)", ORDER, breaks=SEVEN, then=ORDERS),),
    ),
)
