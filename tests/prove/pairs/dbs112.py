"""The golden pairs of DBS112: what the second attempt meets."""

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
    Pair(
        "fix_earlier",
        "psycopg2",
        ("CREATE TABLE item (id int PRIMARY KEY, name text)",),
        (
            Call(
                "order",
                "order(item, other)",
                "then: False",
                breaks=("INSERT INTO item VALUES (2, 'k')",),
                then="stored('SELECT * FROM item ORDER BY 1') == [(1, 'a'), (2, 'k')]",
            ),
        ),
        place=(("postgresql://localhost/shop", "{url}"),),
    ),
    Pair(
        "fix_sqlite",
        "sqlite3",
        ("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)",),
        (
            Call(
                "after_another",
                "after_another(session, other, [item])",
                "PendingRollbackError",
                breaks=("INSERT INTO item VALUES (1, 'a')",),
            ),
        ),
    ),
)
