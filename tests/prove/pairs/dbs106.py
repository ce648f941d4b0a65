"""The golden pairs of DBS106: what a connection that cannot be opened ends with."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

UNBOUND = "UnboundLocalError"
SETUP = ("CREATE TABLE item (id int PRIMARY KEY, name text)", "INSERT INTO item VALUES (1, 'a')")

PAIRS = (
    Pair(
        "fix_bind_first",
        "sqlite3",
        SETUP,
        (Call("add", "add('missing/app.db', (2, 'b'))", UNBOUND, happy="add(address, (2, 'b'))"),),
    ),
    Pair(
        "fix_places",
        "psycopg2",
        SETUP,
        (
            Call("both", "both(nowhere)", UNBOUND, happy="both(address)"),
            Call("tested", "tested(nowhere)", UNBOUND, happy="tested(address)"),
        ),
    ),
    Pair(
        "fix_kept",
        "sqlite3",
        ("CREATE TABLE item (name text)",),
        (
            Call(
                "opened_each_time",
                "opened_each_time(['missing/app.db'], 'a')",
                UNBOUND,
                happy="opened_each_time([address], 'a')",
            ),
        ),
    ),
)
