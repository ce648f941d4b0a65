"""The proof of DBS203: the block has ended, the connection is open and stands in the way of others."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C3a", "C10"),
    drivers=("sqlite3",),
    setup=("PRAGMA journal_mode = WAL", "CREATE TABLE item (name TEXT UNIQUE)", "INSERT INTO item VALUES ('known')"),
    story="The insert fails and the caller keeps the error; then somebody wants the database for himself.",
    bad={
        "add('known')": "IntegrityError",
        "journal mode": "OperationalError: database is locked",
        "items": "['known']",
    },
    good={"add('known')": "IntegrityError", "journal mode": "['delete']", "items": "['known']"},
)


def failing(stage: Stage) -> None:
    """An error that is kept, as by a Future or a log record: its traceback holds the connection."""
    kept: list[BaseException] = []
    try:
        stage.example.add(stage.address, "known")
    except stage.driver.IntegrityError as error:
        kept.append(error)
    stage.see("add('known')", type(kept[0]).__name__)
    stage.see("journal mode", stage.attempt(lambda: stage.values("PRAGMA journal_mode = DELETE")))
    stage.see("items", stage.values("SELECT name FROM item"))


def happy(stage: Stage) -> None:
    """A new name."""
    stage.see("add('new')", stage.attempt(lambda: stage.example.add(stage.address, "new")))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
