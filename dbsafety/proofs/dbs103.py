"""The proof of DBS103: the commit after a swallowed error returns normally and stores nothing."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PROOF = Proof(
    facts=("B2",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (id int PRIMARY KEY, name text)", "CREATE TABLE log (text text)"),
    story="The caller has written a log row in the same transaction; one of the two items to load is a duplicate.",
    bad={"load([1, 1])": "nothing", "log": "[]", "items": "[]"},
    good={"load([1, 1])": "nothing", "log": "['begun']", "items": "[]"},
    instead={
        "load([1, 1])": "UniqueViolation 23505: duplicate key value violates unique constraint...",
        "log": "[]",
        "items": "[]",
    },
)


def failing(stage: Stage) -> None:
    """A duplicate: the example loses the log row and keeps quiet; the savepoint keeps it, the block raises."""
    conn = stage.connect()
    send(conn, "INSERT INTO log VALUES ('begun')")
    stage.see("load([1, 1])", stage.attempt(lambda: stage.example.load(conn, [(1, "a"), (1, "b")])))
    stage.see("log", stage.values("SELECT text FROM log"))
    stage.see("items", stage.values("SELECT id FROM item"))


def happy(stage: Stage) -> None:
    """No duplicate."""
    conn = stage.connect()
    send(conn, "INSERT INTO log VALUES ('begun')")
    stage.see("returned", stage.example.load(conn, [(1, "a"), (2, "b")]))
    stage.see("log", stage.values("SELECT text FROM log"))
    stage.see("rows", stage.rows("SELECT id, name FROM item ORDER BY id"))
