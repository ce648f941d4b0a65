"""The golden pair of DBS202: how long a silent server is waited for."""

from __future__ import annotations

from tests.prove.pair import Call, Pair

WAITING = "still waiting"

PAIRS = (
    Pair(
        "fix_timeout",
        "psycopg2",
        ("CREATE TABLE item (id int)",),
        (
            Call("connect", "patience(lambda: connect('127.0.0.1'))", WAITING, happy="connect('127.0.0.1')"),
            Call("by_text", "patience(by_text)", WAITING, happy="by_text()"),
            Call(
                "opened",
                "patience(lambda: asyncio.run(opened('127.0.0.1')))",
                WAITING,
                happy="asyncio.run(opened('127.0.0.1'))",
            ),
        ),
        place=(
            ('dbname="shop"', 'dbname="{name}"'),
            ("host=db.example.net dbname=shop", "host=127.0.0.1 dbname={name}"),
        ),
        slow=True,
    ),
)
