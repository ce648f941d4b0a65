"""The golden pairs of DBS203: what is open behind the block."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

OPEN, SESSION = "connections open: 1", "sessions: ['idle']"

PAIRS = (
    Pair(
        "fix_closing",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO item VALUES (1, 'known')"),
        (
            Call("store", "store(address, 'a')", OPEN),
            Call("count", "count(address)", OPEN),
            Call("in_two_steps", "in_two_steps(address, 'a')", OPEN),
        ),
    ),
    Pair(
        "fix_later",
        "sqlite3",
        ("CREATE TABLE item (name TEXT)", "INSERT INTO item VALUES ('known')"),
        (
            Call("read_inside", "read_inside(address)", OPEN),
            Call("entered", "use(entered(address))", OPEN),
        ),
    ),
    Pair(
        "fix_psycopg2",
        "psycopg2",
        ("CREATE TABLE counter (n int)", "INSERT INTO counter VALUES (1)"),
        (
            Call("bump", "bump(address)", SESSION),
            Call("session", "use(session(address))", SESSION),
            Call("by_itself", "by_itself(address)", SESSION),
        ),
    ),
)
