"""The proof of DBS208: while the slow call waits, nobody else can write."""

from __future__ import annotations

import time
from unittest.mock import patch

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

OTHER = "another writer meanwhile"
PROOF = Proof(
    facts=("C2f", "C3b", "C5d"),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE purchase (id INTEGER PRIMARY KEY, state TEXT)",
        "INSERT INTO purchase VALUES (1, 'new'), (2, 'new')",
    ),
    story="Purchase 1 is shipped; while that waits somebody else changes purchase 2, and waits 0.2 s for the lock.",
    bad={OTHER: "OperationalError: database is locked"},
    good={OTHER: "nothing"},
)


def failing(stage: Stage) -> None:
    """Somebody writes while the code sleeps."""
    conn = stage.connect()

    def write(_seconds: float) -> None:
        stage.see(OTHER, stage.attempt(lambda: stage.execute("UPDATE purchase SET state = 'paid' WHERE id = 2")))

    with patch.object(time, "sleep", write):
        stage.example.ship(conn, 1)
    conn.close()


def happy(stage: Stage) -> None:
    """Nobody else is there."""
    conn = stage.connect()
    with patch.object(time, "sleep"):
        stage.see("ship(1)", stage.example.ship(conn, 1))
    stage.see("purchases", stage.rows("SELECT * FROM purchase ORDER BY id"))
