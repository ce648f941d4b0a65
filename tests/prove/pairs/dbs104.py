"""The golden pairs of DBS104: which half is stored."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

HALF = "then: [(1,), (2,)]"
KNOWN = ("INSERT INTO item VALUES (2)",)
STORED = "conn.execute('SELECT * FROM item ORDER BY 1').fetchall()"

PAIRS = (
    Pair(
        "fix_sqlite",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY)",),
        (
            Call("only_finally", "only_finally(conn, 1, 2)", HALF, breaks=KNOWN, then=STORED),
            Call("with_more_in_finally", "with_more_in_finally(conn, 1, 2)", HALF, breaks=KNOWN, then=STORED),
            Call("with_handler", "with_handler(conn, 1, 2)", HALF, breaks=KNOWN, then=STORED),
            Call("in_handler", "in_handler(conn, 1, 2)", HALF, breaks=KNOWN, then=STORED),
            Call("work", "two_in_a_block(conn, 1, 2)", HALF, breaks=KNOWN, then=STORED),
        ),
    ),
)
