"""The proof of DBS205: two failed inserts use up a pool of two, and then nothing works any more."""

from __future__ import annotations

from functools import partial

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B4e",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (name text UNIQUE)", "INSERT INTO item VALUES ('known')"),
    story="A known name is added twice through a pool of two connections, then a new one.",
    bad={
        "first": "UniqueViolation 23505...",
        "second": "UniqueViolation 23505...",
        "third": "PoolError: connection pool exhausted",
        "items": "['known']",
    },
    good={
        "first": "UniqueViolation 23505...",
        "second": "UniqueViolation 23505...",
        "third": "nothing",
        "items": "['known', 'new']",
    },
)


def failing(stage: Stage) -> None:
    """Two errors, and a third call that would succeed."""
    store = stage.example.Store(stage.address)
    for label, name in (("first", "known"), ("second", "known"), ("third", "new")):
        stage.see(label, stage.attempt(partial(store.add, name)))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
    store.pool.closeall()


def happy(stage: Stage) -> None:
    """Three new names."""
    store = stage.example.Store(stage.address)
    for name in ("a", "b", "c"):
        stage.see(name, stage.attempt(partial(store.add, name)))
    stage.see("items", stage.values("SELECT name FROM item ORDER BY name"))
    store.pool.closeall()
