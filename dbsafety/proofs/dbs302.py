"""The proof of DBS302: a row that the SELECT did not find is there when the INSERT comes."""

from __future__ import annotations

import contextlib

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C7",),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",),
    story="Somebody else inserts the same name right before this INSERT begins.",
    bad={"remember('new')": "IntegrityError: UNIQUE constraint failed: item.name", "names": "['new']"},
    good={"remember('new')": "nothing", "names": "['new']"},
)
_NAMES = "SELECT name FROM item ORDER BY name"


def failing(stage: Stage) -> None:
    """The driver begins a transaction for the INSERT; at that moment the other one comes first."""
    with contextlib.closing(stage.connect()) as conn:

        def before(statement: str) -> None:
            if statement.startswith("BEGIN"):
                stage.execute("INSERT INTO item (name) VALUES ('new')")

        conn.set_trace_callback(before)
        stage.see("remember('new')", stage.attempt(lambda: stage.example.remember(conn, "new")))
    stage.see("names", stage.values(_NAMES))


def happy(stage: Stage) -> None:
    """Nobody else is there."""
    with contextlib.closing(stage.connect()) as conn:
        stage.see("new", stage.example.remember(conn, "new"))
        stage.see("known", stage.example.remember(conn, "new"))
    stage.see("names", stage.values(_NAMES))
