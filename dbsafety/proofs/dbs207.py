"""The proof of DBS207: one thread's commit stores what another has half done, and its rollback comes too late."""

from __future__ import annotations

import contextlib
import threading

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PATIENCE = 1.0
"""Seconds for which the first unit of work waits for the second thread, which a lock keeps out."""
PROOF = Proof(
    facts=("C6a",),
    drivers=("sqlite3",),
    setup=("CREATE TABLE entry (text TEXT UNIQUE)", "INSERT INTO entry VALUES ('known')"),
    story="A unit of work has inserted its first entry when another thread deletes one; then its second entry fails.",
    bad={
        "add('new', 'known')": "IntegrityError: UNIQUE constraint failed: entry.text",
        "entries": "['known', 'new']",
    },
    good={
        "add('new', 'known')": "IntegrityError: UNIQUE constraint failed: entry.text",
        "entries": "['known']",
    },
)
_ENTRIES = "SELECT text FROM entry ORDER BY text"


class Late:
    """A text that is asked for when its statement is about to run, and then lets the other thread go first."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.asked = threading.Event()
        self.over = threading.Event()

    def __conform__(self, _protocol: object) -> str:
        self.asked.set()
        self.over.wait(PATIENCE)
        return self.text


def failing(stage: Stage) -> None:
    """Two threads on one connection."""
    log, late = stage.example.Log(stage.address), Late("known")

    def forget() -> None:
        late.asked.wait()
        log.forget("old")
        late.over.set()

    other = threading.Thread(target=forget)
    other.start()
    stage.see("add('new', 'known')", stage.attempt(lambda: log.add("new", late)))
    other.join()
    log.conn.close()
    stage.see("entries", stage.values(_ENTRIES))


def happy(stage: Stage) -> None:
    """One thread after the other."""
    log = stage.example.Log(stage.address)
    with contextlib.closing(log.conn):
        log.add("new", "newer")
        log.forget("known")
    stage.see("entries", stage.values(_ENTRIES))
