"""The proof of DBS204: whoever keeps the error keeps the connection, and with it the write lock."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, raised

PROOF = Proof(
    facts=("C10", "C12", "B7c"),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)", "INSERT INTO item VALUES (1, 'known')"),
    story="A known name is added and the caller keeps the error, as a Future or a log record does.",
    bad={
        "add('known')": "IntegrityError: UNIQUE constraint failed: item.name",
        "somebody else's INSERT": "OperationalError: database is locked",
    },
    good={
        "add('known')": "IntegrityError: UNIQUE constraint failed: item.name",
        "somebody else's INSERT": "nothing",
    },
)


def failing(stage: Stage) -> None:
    """A duplicate whose exception is kept."""
    try:
        stage.example.add(stage.address, "known")
    except stage.driver.IntegrityError as error:
        kept = error
    stage.see("add('known')", raised(kept))
    other = stage.attempt(lambda: stage.execute("INSERT INTO item (name) VALUES ('other')"))
    stage.see("somebody else's INSERT", other)


def happy(stage: Stage) -> None:
    """A new name."""
    stage.see("add('new')", stage.example.add(stage.address, "new"))
    stage.see("rows", stage.rows("SELECT id, name FROM item ORDER BY id"))
