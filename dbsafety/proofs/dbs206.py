"""The proof of DBS206: a transaction that has read cannot write once somebody else has, however long it would wait."""

from __future__ import annotations

import contextlib

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PROOF = Proof(
    facts=("C2a", "C2f"),
    drivers=("sqlite3",),
    setup=(
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE task (id INTEGER PRIMARY KEY, state TEXT)",
        "INSERT INTO task VALUES (1, 'new')",
    ),
    story="Somebody else adds a task right after the transaction has read; it is ready to wait 30 seconds for a lock.",
    bad={
        "somebody else's INSERT": "nothing",
        "take": "OperationalError: database is locked",
        "the UPDATE again": "OperationalError: database is locked",
        "taken": "[]",
    },
    good={
        "somebody else's INSERT": "OperationalError: database is locked",
        "take": "1",
        "the UPDATE again": "[]",
        "taken": "[1]",
    },
)
_UPDATE = "UPDATE task SET state = 'taken' WHERE id = 1"
_TAKEN = "SELECT id FROM task WHERE state = 'taken'"


def failing(stage: Stage) -> None:
    """A commit of another connection at the moment at which the row is read; with the lock taken it has to wait."""

    def row(_cursor: object, values: tuple[object, ...]) -> tuple[object, ...]:
        add = stage.attempt(lambda: stage.execute("INSERT INTO task VALUES (2, 'new')"))
        stage.see("somebody else's INSERT", add)
        return values

    with contextlib.closing(stage.driver.connect(stage.address, timeout=30.0, isolation_level=None)) as conn:
        conn.row_factory = row
        stage.see("take", stage.attempt(lambda: stage.example.take(conn)))
        stage.see("the UPDATE again", stage.attempt(lambda: send(conn, _UPDATE)))
    stage.see("taken", stage.values(_TAKEN))


def happy(stage: Stage) -> None:
    """Nobody else is there."""
    with contextlib.closing(stage.driver.connect(stage.address, isolation_level=None)) as conn:
        stage.see("take", stage.example.take(conn))
        stage.see("nothing new", stage.example.take(conn))
    stage.see("taken", stage.values(_TAKEN))
