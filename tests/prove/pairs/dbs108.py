"""The golden pairs of DBS108: who holds the lock afterwards."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

LOCKED = "a write from outside: OperationalError: database is locked"
SETUP = ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",)
KNOWN = ("INSERT INTO item VALUES (1, 'a')",)

PAIRS = (
    Pair("fix_reach", "sqlite3", SETUP, (Call("Store.add", "keep(Store(address)).add('a')", LOCKED, breaks=KNOWN),)),
    Pair(
        "fix_async",
        "sqlite3",
        SETUP,
        (Call("Store.add", "awaited(added, (1, 'a'))", LOCKED, breaks=KNOWN),),
        place=(
            ("class Store:", "async def added(conn, row):\n    return await Store(conn).add(row)\n\n\nclass Store:"),
        ),
    ),
    Pair(
        "fix_release",
        "sqlite3",
        SETUP,
        (Call("Store.add", "keep(Store(address)).add((1, 'a'))", LOCKED, breaks=KNOWN),),
    ),
    Pair(
        "fix_of_callers",
        "sqlite3",
        ("CREATE TABLE item (n UNIQUE)", "CREATE TABLE line (n)", "CREATE TABLE log (text)"),
        (
            Call("add_alone", "add_alone(conn, 1)", LOCKED, breaks=("INSERT INTO item VALUES (1)",)),
            Call("Store.put", "keep(Store(address)).put(1)", LOCKED, breaks=("INSERT INTO item VALUES (1)",)),
        ),
    ),
)
