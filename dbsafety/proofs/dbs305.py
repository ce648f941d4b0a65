"""The proof of DBS305: a rollback after `executescript` takes nothing back, neither what was pending nor the script."""

from __future__ import annotations

import contextlib

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C8a",),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE archive (name TEXT)",
        "CREATE TABLE item (name TEXT)",
        "INSERT INTO item VALUES ('a')",
        "CREATE TABLE counter (n INTEGER)",
        "INSERT INTO counter VALUES (1)",
    ),
    story="The last statement fails: a trigger forbids to change the counter.",
    bad={"move('a')": "IntegrityError: the counter is frozen", "archive": "['a']", "item": "[]"},
    good={"move('a')": "IntegrityError: the counter is frozen", "archive": "[]", "item": "['a']"},
)
_FROZEN = "CREATE TRIGGER frozen BEFORE UPDATE ON counter BEGIN SELECT RAISE(ABORT, 'the counter is frozen'); END"


def failing(stage: Stage) -> None:
    """The error leaves the function after its rollback."""
    stage.execute(_FROZEN)
    with contextlib.closing(stage.connect()) as conn:
        stage.see("move('a')", stage.attempt(lambda: stage.example.move(conn, "a")))
    _look(stage)


def happy(stage: Stage) -> None:
    """All three statements succeed."""
    with contextlib.closing(stage.connect()) as conn:
        stage.see("move('a')", stage.example.move(conn, "a"))
    _look(stage)


def _look(stage: Stage) -> None:
    stage.see("archive", stage.values("SELECT name FROM archive"))
    stage.see("item", stage.values("SELECT name FROM item"))
