"""The proof of DBS202: which limit libpq was given; what it does without one takes too long to be shown (fact B11a)."""

from __future__ import annotations

import os
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PROOF = Proof(
    facts=("B11a",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (name text)", "INSERT INTO item VALUES ('a')"),
    story="The connection is opened, and libpq is asked for how long it would have waited for a silent server.",
    bad={"limit in seconds": "nothing"},
    good={"limit in seconds": "10"},
)


def failing(stage: Stage) -> None:
    """A server that answers: the limit is what libpq was told, answered or not."""
    conn = _opened(stage)
    stage.see("limit in seconds", conn.get_dsn_parameters().get("connect_timeout"))
    conn.close()


def happy(stage: Stage) -> None:
    """A server that answers in time."""
    conn = _opened(stage)
    stage.see("items", [name for (name,) in send(conn, "SELECT name FROM item")])
    conn.close()


def _opened(stage: Stage) -> Any:
    known = stage.driver.extensions.parse_dsn(stage.address)
    if "password" in known:
        os.environ["PGPASSWORD"] = known["password"]
    where = (known.get("host", ""), known.get("port", ""), known["dbname"], known.get("user", ""))
    return stage.example.open_store(*where)
