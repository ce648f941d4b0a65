"""The proof of DBS202: a server that accepts and keeps silent is waited for, by default without end."""

from __future__ import annotations

import os
import queue
import socket
import threading
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PATIENCE = 13.0
PROOF = Proof(
    facts=("B11a",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (name text)", "INSERT INTO item VALUES ('a')"),
    story=f"A server accepts the connection and says nothing; after {PATIENCE:.0f} s a look at what became of it.",
    bad={"open_store()": "still waiting"},
    good={"open_store()": "OperationalError"},
)


def failing(stage: Stage) -> None:
    """Nobody ever answers."""
    ended: queue.Queue[str] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        opened = stage.example.open_store

        def wait() -> None:
            ended.put(str(stage.attempt(lambda: opened("127.0.0.1", port, "shop", "shop"))).partition(":")[0])

        threading.Thread(target=wait, daemon=True).start()
        try:
            stage.see("open_store()", ended.get(timeout=PATIENCE))
        except queue.Empty:
            stage.see("open_store()", "still waiting")


def happy(stage: Stage) -> None:
    """A server that answers."""
    conn = _opened(stage)
    stage.see("items", [name for (name,) in send(conn, "SELECT name FROM item")])
    conn.close()


def _opened(stage: Stage) -> Any:
    known = stage.driver.extensions.parse_dsn(stage.address)
    if "password" in known:
        os.environ["PGPASSWORD"] = known["password"]
    where = (known.get("host", ""), known.get("port", ""), known["dbname"], known.get("user", ""))
    return stage.example.open_store(*where)
