"""The proof of DBS304: what a statement that begins with WITH has written stays when the unit of work fails."""

from __future__ import annotations

import contextlib

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C8c",),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE item (name TEXT, seen INTEGER)",
        "INSERT INTO item VALUES ('a', 1)",
        "CREATE TABLE archive (name TEXT)",
    ),
    story="The DELETE fails: a trigger forbids it.",
    bad={"move": "IntegrityError: items stay", "archive": "['a']", "item": "['a']"},
    good={"move": "IntegrityError: items stay", "archive": "[]", "item": "['a']"},
)


def failing(stage: Stage) -> None:
    """The error leaves the block, which rolls back."""
    stage.execute("CREATE TRIGGER t BEFORE DELETE ON item BEGIN SELECT RAISE(ABORT, 'items stay'); END")
    _move(stage)


def happy(stage: Stage) -> None:
    """Both statements succeed."""
    _move(stage)


def _move(stage: Stage) -> None:
    with contextlib.closing(stage.connect()) as conn:
        stage.see("move", stage.attempt(lambda: stage.example.move(conn)))
    stage.see("archive", stage.values("SELECT name FROM archive"))
    stage.see("item", stage.values("SELECT name FROM item"))
