"""The proof of DBS303: the text of an error quotes the data, and a row that breaks a constraint is taken for known."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

CALL = "add('duplicate key')"
PROOF = Proof(
    facts=("B1a", "B1e"),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (name text UNIQUE CHECK (length(name) < 10))",),
    story="An item called 'duplicate key' is added to a table whose names are shorter than ten letters.",
    bad={CALL: "False", "items": "[]"},
    good={
        CALL: 'CheckViolation 23514: new row for relation "item" violates check constraint "item_name_check"',
        "items": "[]",
    },
)


def failing(stage: Stage) -> None:
    """A name that is too long."""
    conn = stage.connect()
    stage.see(CALL, stage.attempt(lambda: stage.example.add(conn, "duplicate key")))
    conn.commit()
    stage.see("items", stage.values("SELECT name FROM item"))


def happy(stage: Stage) -> None:
    """A new name, twice."""
    conn = stage.connect()
    stage.see("first", stage.example.add(conn, "bolt"))
    conn.commit()
    stage.see("second", stage.example.add(conn, "bolt"))
    stage.see("items", stage.values("SELECT name FROM item"))
