"""The proof of DBS108: a swallowed duplicate holds the write lock of the whole file."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C3b", "C5a", "C5d"),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)", "INSERT INTO item VALUES (1, 'known')"),
    story="A known name is added, the error ends in add(); then somebody else wants to write.",
    bad={
        "add('known')": "False",
        "its connection": "in a transaction",
        "somebody else's INSERT": "OperationalError: database is locked",
    },
    good={"add('known')": "False", "its connection": "idle", "somebody else's INSERT": "nothing"},
)


def failing(stage: Stage) -> None:
    """A duplicate, then another connection."""
    store = stage.example.Store(stage.address)
    stage.see("add('known')", store.add("known"))
    stage.see("its connection", "in a transaction" if store.conn.in_transaction else "idle")
    other = stage.attempt(lambda: stage.execute("INSERT INTO item (name) VALUES ('other')"))
    stage.see("somebody else's INSERT", other)


def happy(stage: Stage) -> None:
    """A new name."""
    store = stage.example.Store(stage.address)
    stage.see("add('new')", store.add("new"))
    stage.see("rows", stage.rows("SELECT id, name FROM item ORDER BY id"))
