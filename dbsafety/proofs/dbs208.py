"""The proof of DBS208: while the slow call waits, nobody else can write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@contextmanager
def _asleep(act: Callable[[float], None]) -> Iterator[None]:
    """The time that the code sleeps is the time in which something else is done."""
    real, time.sleep = time.sleep, act
    try:
        yield
    finally:
        time.sleep = real


def failing(stage: Stage) -> None:
    """Somebody writes while the code sleeps."""
    conn = stage.connect()

    def write(_seconds: float) -> None:
        stage.see(OTHER, stage.attempt(lambda: stage.execute("UPDATE purchase SET state = 'paid' WHERE id = 2")))

    with _asleep(write):
        stage.example.ship(conn, 1)
    conn.close()


def happy(stage: Stage) -> None:
    """Nobody else is there."""
    conn = stage.connect()
    with _asleep(lambda _seconds: None):
        stage.see("ship(1)", stage.example.ship(conn, 1))
    stage.see("purchases", stage.rows("SELECT * FROM purchase ORDER BY id"))
