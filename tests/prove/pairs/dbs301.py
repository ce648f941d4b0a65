"""The golden pairs of DBS301: whose id is returned for a name that is known."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

LOG = "CREATE TABLE log (id INTEGER PRIMARY KEY)"

PAIRS = (
    Pair(
        "fix_rowcount",
        "sqlite3",
        ("CREATE TABLE tag (id INTEGER PRIMARY KEY, name TEXT UNIQUE)", "INSERT INTO tag VALUES (1, 'known')", LOG),
        (Call("add", "add(after_insert(conn), 'known')", "result: 7", happy="add(conn, 'new')"),),
    ),
    Pair(
        "fix_tests",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)", "INSERT INTO item VALUES (1, 'known')", LOG),
        (
            Call(
                "truth", "truth(after_insert(conn), 'known')", "result: True", happy="truth(conn, 'new'), conn.commit()"
            ),
            Call(
                "not_none",
                "not_none(after_insert(conn), 'known')",
                "result: 7",
                happy="not_none(conn, 'new'), conn.commit()",
            ),
        ),
    ),
)
