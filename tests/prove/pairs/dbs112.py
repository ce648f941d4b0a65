"""The golden pair of DBS112: what the second attempt meets."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

PAIRS = (
    Pair(
        "fix_session",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)",),
        (
            Call("retry", "retry(session, item)", "PendingRollbackError", holds="BEGIN IMMEDIATE"),
            Call(
                "in_a_block",
                "in_a_block(session, item, other)",
                "then: [(1,)]",
                breaks=("INSERT INTO item VALUES (1, 'a')",),
                then="stored('SELECT id FROM item ORDER BY 1')",
            ),
        ),
    ),
)
