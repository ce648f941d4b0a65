"""The golden pairs of DBS204: what whoever keeps the error keeps open."""

from __future__ import annotations

from tests.prove.pair import GONE, Call, Pair

OPEN, LOCKED = "connections open: 1", "a write from outside: OperationalError: database is locked"
REFUSING = ("CREATE TRIGGER no BEFORE INSERT ON item BEGIN SELECT RAISE(ABORT, 'no'); END",)

PAIRS = (
    Pair(
        "fix_shapes",
        "sqlite3",
        ("CREATE TABLE item (name TEXT)", "INSERT INTO item VALUES ('known')"),
        (
            Call("reads", "len(reads(address))", OPEN, breaks=GONE),
            Call("early", "early(address, 'a')", LOCKED, breaks=REFUSING),
            Call("handler", "handler(address, 'a')", LOCKED, breaks=REFUSING),
            Call(
                "cursor_outlives_suite",
                "cursor_outlives_suite(address)",
                OPEN,
                inject=(("SELECT 1", "SELECT nothing"),),
            ),
            Call("in_loop", "in_loop([address, address])", OPEN, breaks=GONE),
        ),
    ),
    Pair(
        "fix_coroutine",
        "sqlite3",
        ("CREATE TABLE item (name TEXT)",),
        (Call("count", "asyncio.run(count(address))", OPEN, breaks=GONE),),
    ),
    Pair(
        "fix_left_early",
        "sqlite3",
        ("CREATE TABLE item (name TEXT)", "CREATE TABLE log (name TEXT)"),
        (
            Call("settles_first", "settles_first(address, 'a')", LOCKED, breaks=("DROP TABLE log",)),
            Call("each_branch_settles", "each_branch_settles(address, 'a', new=True)", LOCKED, breaks=REFUSING),
        ),
    ),
    Pair(
        "fix_slot",
        "psycopg",
        ("CREATE TABLE item (name text)", "INSERT INTO item VALUES ('known')"),
        (Call("clear", "clear(address)", "idle in transaction (aborted)", breaks=GONE),),
    ),
    Pair(
        "fix_with",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)",),
        (Call("add", "add(address, (1, 'a'))", LOCKED, breaks=("INSERT INTO item VALUES (1, 'known')",)),),
    ),
)
