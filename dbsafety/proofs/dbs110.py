"""The proof of DBS110: the connection that failed stays aborted, and the other one loses its work."""

from __future__ import annotations

from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PROOF = Proof(
    facts=("B8d",),
    drivers=("psycopg2",),
    setup=(
        "CREATE TABLE item (name text UNIQUE)",
        "INSERT INTO item VALUES ('known')",
        "CREATE TABLE done (name text)",
    ),
    story="The source notes what it has handed out; a known name is stored, then a new one, then the source commits.",
    bad={
        "store('known')": "False",
        "store('new')": "False",
        "the next statement": "InFailedSqlTransaction 25P02: current transaction is aborted, commands ignored until...",
        "items": "['known']",
        "noted by the source": "[]",
    },
    good={
        "store('known')": "False",
        "store('new')": "True",
        "the next statement": "[(1,)]",
        "items": "['known', 'new']",
        "noted by the source": "['known']",
    },
)


def failing(stage: Stage) -> None:
    """A duplicate at the target while the source has work of its own."""
    copy = _copy(stage)
    send(copy.source, "INSERT INTO done VALUES ('known')")
    stage.see("store('known')", copy.store("known"))
    stage.see("store('new')", copy.store("new"))
    copy.source.commit()
    stage.see("the next statement", stage.attempt(lambda: send(copy.target, "SELECT 1")))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
    stage.see("noted by the source", stage.values("SELECT name FROM done"))


def happy(stage: Stage) -> None:
    """No duplicate."""
    copy = _copy(stage)
    send(copy.source, "INSERT INTO done VALUES ('new')")
    stage.see("store('new')", copy.store("new"))
    copy.source.commit()
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
    stage.see("noted by the source", stage.values("SELECT name FROM done"))


def _copy(stage: Stage) -> Any:
    return stage.example.Copy(stage.address, stage.address)
