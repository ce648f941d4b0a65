"""The proof of DBS209: a program that waits for the lock it holds itself."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C2e",),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE purchase (id INTEGER PRIMARY KEY, state TEXT)",
        "CREATE TABLE log (text TEXT)",
        "INSERT INTO purchase VALUES (1, 'new')",
    ),
    story="Purchase 1 is shipped, and the log entry is written through a connection of its own; nobody else is there.",
    bad={"ship(1)": "OperationalError: database is locked", "shipped": "[]", "log": "[]"},
    good={"ship(1)": "nothing", "shipped": "[1]", "log": "['shipped']"},
)


def failing(stage: Stage) -> None:
    """No error but its own is needed."""
    stage.see("ship(1)", stage.attempt(lambda: stage.example.ship(stage.address, 1)))
    stage.see("shipped", stage.values("SELECT id FROM purchase WHERE state = 'shipped'"))
    stage.see("log", stage.values("SELECT text FROM log"))


def happy(stage: Stage) -> None:
    """It has no good day, since it always waits for itself; what it leaves behind is in order."""
    stage.see("integrity", stage.values("PRAGMA integrity_check"))
