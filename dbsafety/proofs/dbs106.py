"""The proof of DBS106: when the connection cannot be opened, the clean-up fails instead, with an error about itself."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B8a",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE task (id int PRIMARY KEY)", "INSERT INTO task VALUES (1), (2)"),
    story="The server cannot be reached.",
    bad={"count()": "UnboundLocalError"},
    good={"count()": "OperationalError"},
)


def failing(stage: Stage) -> None:
    """Nobody listens on port 1."""
    stage.see("count()", _name(stage.attempt(lambda: stage.example.count("host=127.0.0.1 port=1"))))


def happy(stage: Stage) -> None:
    """The server is there."""
    stage.see("count()", stage.example.count(stage.address))
    stage.see("sessions left open", len(stage.sessions()))


def _name(said: object) -> str:
    """The class alone: the words differ between versions of Python."""
    return str(said).partition(":")[0]
