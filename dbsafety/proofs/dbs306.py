"""The proof of DBS306: SQLite does not commit while a RETURNING still has a row to give."""

from __future__ import annotations

import contextlib

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

_IN_PROGRESS = "cannot commit transaction - SQL statements in progress"
PROOF = Proof(
    facts=("C4c",),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)",),
    story="A name is added; nothing else happens.",
    bad={"add('new')": f"OperationalError: {_IN_PROGRESS}", "in a transaction": "True", "names": "[]"},
    good={"add('new')": "nothing", "in a transaction": "False", "names": "['new']"},
)


def failing(stage: Stage) -> None:
    """The row is returned and not fetched when the commit comes."""
    with contextlib.closing(stage.connect()) as conn:
        stage.see("add('new')", stage.attempt(lambda: stage.example.add(conn, "new")))
        stage.see("in a transaction", conn.in_transaction)
        stage.see("names", stage.values("SELECT name FROM item"))


def happy(stage: Stage) -> None:
    """No row is returned: a trigger drops it."""
    stage.execute("CREATE TRIGGER t BEFORE INSERT ON item BEGIN SELECT RAISE(IGNORE); END")
    with contextlib.closing(stage.connect()) as conn:
        stage.see("add('new')", stage.attempt(lambda: stage.example.add(conn, "new")))
        stage.see("in a transaction", conn.in_transaction)
    stage.see("names", stage.values("SELECT name FROM item"))
