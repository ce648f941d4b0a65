"""The proof of DBS901: OR IGNORE drops a row without its size as if it were known."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

CALL = "remember('bolt', None)"
PROOF = Proof(
    facts=("C4c",),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (name TEXT UNIQUE, size INTEGER NOT NULL)",),
    story="A new item comes without the size that every item must have.",
    bad={CALL: "False", "items": "[]"},
    good={CALL: "IntegrityError: NOT NULL constraint failed: item.size", "items": "[]"},
)


def failing(stage: Stage) -> None:
    """A size is missing."""
    conn = stage.connect()
    stage.see(CALL, stage.attempt(lambda: stage.example.remember(conn, "bolt", None)))
    conn.commit()
    stage.see("items", stage.rows("SELECT * FROM item"))


def happy(stage: Stage) -> None:
    """A new name, twice."""
    conn = stage.connect()
    stage.see("first", stage.example.remember(conn, "bolt", 3))
    stage.see("second", stage.example.remember(conn, "bolt", 4))
    conn.commit()
    stage.see("items", stage.rows("SELECT * FROM item"))
