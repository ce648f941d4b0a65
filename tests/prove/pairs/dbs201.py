"""The golden pairs of DBS201: for how many milliseconds a busy database is waited for."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

SETUP = ("CREATE TABLE item (id INTEGER PRIMARY KEY)",)
INSERT = "plain.execute('INSERT INTO item VALUES (1)').rowcount, plain.commit()"

PAIRS = (
    Pair("fix_chosen_timeout", "sqlite3", SETUP, (Call("<module>", "busy_timeout(plain)", "5000", happy=INSERT),)),
    Pair(
        "fix_timeout",
        "sqlite3",
        SETUP,
        (Call("<module>", "[busy_timeout(plain), busy_timeout(spread)]", "5000", happy=INSERT),),
    ),
)
