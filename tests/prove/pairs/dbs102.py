"""The golden pairs of DBS102: what the next statement is answered."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

REFUSED = "InFailedSqlTransaction 25P02"

PAIRS = (
    Pair(
        "fix_retry",
        "psycopg2",
        ("CREATE TABLE item (id int PRIMARY KEY, name text)", "INSERT INTO item VALUES (1, '7')"),
        (
            Call("retry", "retry(conn)", REFUSED, holds="LOCK TABLE item"),
            Call(
                "reads",
                "reads(conn, ['a', '7'])",
                REFUSED,
                breaks=("ALTER TABLE item ALTER name TYPE int USING name::int",),
            ),
        ),
        place=(("time.sleep(1)", "time.sleep(0)"),),
    ),
    Pair(
        "fix_status_update",
        "psycopg2",
        ("CREATE TABLE task (id int PRIMARY KEY, state text, note text)", "INSERT INTO task VALUES (1, 'new', '')"),
        (
            Call(
                "Tasks.fail",
                "keep(Tasks(address)).fail(1)",
                REFUSED,
                breaks=("ALTER TABLE task ADD CHECK (state <> 'running')",),
            ),
        ),
    ),
    Pair(
        "fix_swapped",
        "psycopg2",
        ("CREATE TABLE item (name text)",),
        (
            Call(
                "send",
                "send(address, address, 'a')",
                "then: []",
                breaks=("CREATE SEQUENCE turn", "ALTER TABLE item ADD CHECK (nextval('turn') > 2)"),
                then="stored('SELECT name FROM item')",
            ),
        ),
    ),
)
