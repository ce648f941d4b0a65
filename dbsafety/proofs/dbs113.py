"""The proof of DBS113: the rollback of a connection that commits by itself undoes nothing."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("C6b",),
    drivers=("sqlite3",),
    setup=(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER CHECK (amount <= 150))",
        "INSERT INTO account VALUES (1, 100), (2, 100)",
    ),
    story="80 is transferred from account 1 to account 2, which may hold no more than 150.",
    bad={
        "transfer()": "IntegrityError: CHECK constraint failed: amount <= 150",
        "accounts": "[(1, 20), (2, 100)]",
    },
    good={
        "transfer()": "IntegrityError: CHECK constraint failed: amount <= 150",
        "accounts": "[(1, 100), (2, 100)]",
    },
)


def failing(stage: Stage) -> None:
    """The second UPDATE is refused."""
    bank = stage.example.Bank(stage.address)
    stage.see("transfer()", stage.attempt(lambda: bank.transfer(1, 2, 80)))
    stage.see("accounts", stage.rows("SELECT id, amount FROM account ORDER BY id"))


def happy(stage: Stage) -> None:
    """A sum that fits."""
    stage.see("transfer()", stage.example.Bank(stage.address).transfer(1, 2, 30))
    stage.see("accounts", stage.rows("SELECT id, amount FROM account ORDER BY id"))
