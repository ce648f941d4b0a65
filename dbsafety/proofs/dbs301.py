"""The proof of DBS301: after an ignored insert `lastrowid` is the id of another row."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C4a",),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
        "CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT)",
        "INSERT INTO item VALUES (1, 'known')",
    ),
    story="The name is known already, as item 1; the connection has just written row 7 of another table.",
    bad={"remember('known')": "7", "the name of item 7": "[]"},
    good={"remember('known')": "nothing", "the name of item 7": "[]"},
)


def failing(stage: Stage) -> None:
    """A known name, after an insert elsewhere."""
    conn = stage.connect()
    conn.execute("INSERT INTO log VALUES (7, 'began')")
    stage.see("remember('known')", stage.example.remember(conn, "known"))
    conn.commit()
    stage.see("the name of item 7", stage.rows("SELECT name FROM item WHERE id = 7"))


def happy(stage: Stage) -> None:
    """A new name."""
    conn = stage.connect()
    stage.see("returned", stage.example.remember(conn, "new"))
    conn.commit()
    stage.see("rows", stage.rows("SELECT * FROM item ORDER BY id"))
