"""The golden pair of DBS105: where Ctrl-C goes."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

CARRIES_ON = "result: None"

PAIRS = (
    Pair(
        "fix_narrow",
        "psycopg2",
        ("CREATE TABLE item (id int PRIMARY KEY)",),
        (
            Call("rollback", "rollback(interrupted('rollback'))", CARRIES_ON, happy="rollback(conn)"),
            Call("close", "close(interrupted('close'))", CARRIES_ON, happy="close(conn)"),
        ),
    ),
)
