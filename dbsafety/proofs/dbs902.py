"""The proof of DBS902: in autocommit mode the first of two writes stays when the second fails."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

REFUSED = 'CheckViolation 23514: new row for relation "account" violates check constraint "account_amount_check"'
ACCOUNTS = "SELECT id, amount FROM account ORDER BY id"
PROOF = Proof(
    facts=("B5b", "B5c"),
    drivers=("psycopg2",),
    setup=(
        "CREATE TABLE account (id int PRIMARY KEY, amount int CHECK (amount <= 150))",
        "INSERT INTO account VALUES (1, 100), (2, 100)",
    ),
    story="80 is transferred from account 1 to account 2, which may hold no more than 150.",
    bad={"transfer()": REFUSED, "accounts": "[(1, 20), (2, 100)]"},
    good={"transfer()": REFUSED, "accounts": "[(1, 100), (2, 100)]"},
)


def failing(stage: Stage) -> None:
    """The second UPDATE is refused."""
    bank = stage.example.Bank(stage.address)
    stage.see("transfer()", stage.attempt(lambda: bank.transfer(80)))
    stage.see("accounts", stage.rows(ACCOUNTS))


def happy(stage: Stage) -> None:
    """A sum that fits."""
    stage.see("transfer()", stage.example.Bank(stage.address).transfer(30))
    stage.see("accounts", stage.rows(ACCOUNTS))
