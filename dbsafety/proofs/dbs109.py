"""The proof of DBS109: the block closes the connection, and what was written is gone."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B7a", "C3a"),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (name TEXT UNIQUE)", "INSERT INTO item VALUES ('known')"),
    story="A name is added; nothing fails.",
    bad={"add('new')": "nothing", "items": "['known']"},
    good={"add('new')": "nothing", "items": "['known', 'new']"},
)


def failing(stage: Stage) -> None:
    """A new name."""
    stage.see("add('new')", stage.attempt(lambda: stage.example.add(stage.address, "new")))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))


def happy(stage: Stage) -> None:
    """A name that is refused: here it is right that nothing is stored."""
    stage.see("add('known')", stage.attempt(lambda: stage.example.add(stage.address, "known")))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
