"""The proof of DBS107: one bad row of a loop, and no row at all is stored."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B6",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (id serial, name text UNIQUE)",),
    story="Five names are loaded, the third is the same as the second.",
    bad={
        "load()": "InFailedSqlTransaction 25P02: current transaction is aborted, commands ignored until...",
        "items": "[]",
    },
    good={"load()": "nothing", "items": "['a', 'b', 'd', 'e']"},
)


def failing(stage: Stage) -> None:
    """A duplicate in the middle."""
    conn = stage.connect()
    stage.see("load()", stage.attempt(lambda: stage.example.load(conn, ["a", "b", "b", "d", "e"])))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))


def happy(stage: Stage) -> None:
    """No duplicate."""
    stage.see("load()", stage.example.load(stage.connect(), ["a", "b", "c"]))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
