"""The proof of DBS201: a writer who has to queue for more than five seconds fails, unless told to wait longer."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

BUSY_SECONDS = 8.0
PROOF = Proof(
    facts=("C1a", "C2f"),
    drivers=("sqlite3",),
    setup=("CREATE TABLE item (name TEXT)",),
    story=f"Another writer keeps the database busy for {BUSY_SECONDS:.0f} seconds.",
    bad={"waits for": "5000 ms", "INSERT": "OperationalError: database is locked", "items": "[]"},
    good={"waits for": "30000 ms", "INSERT": "nothing", "items": "['a']"},
)


def failing(stage: Stage) -> None:
    """Write while a transaction of somebody else's is open; it ends after a while, or when the writer gives up."""
    over = threading.Event()
    with contextlib.closing(stage.example.open_store(stage.address)) as conn:
        stage.see("waits for", _wait(conn))
        with contextlib.closing(stage.driver.connect(stage.address, check_same_thread=False)) as busy:
            busy.execute("BEGIN IMMEDIATE")
            other = threading.Thread(target=lambda: (over.wait(BUSY_SECONDS), busy.rollback()))
            other.start()
            stage.see("INSERT", stage.attempt(lambda: _insert(conn)))
            over.set()
            other.join()
    stage.see("items", stage.values("SELECT name FROM item"))


def happy(stage: Stage) -> None:
    """Nobody else writes."""
    with contextlib.closing(stage.example.open_store(stage.address)) as conn:
        stage.see("INSERT", stage.attempt(lambda: _insert(conn)))
    stage.see("items", stage.values("SELECT name FROM item"))


def _wait(conn: Any) -> str:
    ((wait,),) = send(conn, "PRAGMA busy_timeout")
    return f"{wait} ms"


def _insert(conn: Any) -> None:
    send(conn, "INSERT INTO item VALUES ('a')")
    conn.commit()
