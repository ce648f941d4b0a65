"""The proof of DBS105: Ctrl-C during a rollback is lost."""

from __future__ import annotations

import signal
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, raised

PROOF = Proof(
    facts=("B8b",),
    drivers=("psycopg2",),
    setup=("CREATE TABLE item (id int PRIMARY KEY)",),
    story="Ctrl-C is pressed while undo() rolls back; on another connection the server has gone away.",
    bad={"undo() and Ctrl-C": "carries on", "undo() without a server": "carries on"},
    good={"undo() and Ctrl-C": "KeyboardInterrupt", "undo() without a server": "carries on"},
)


def failing(stage: Stage) -> None:
    """A real signal while the driver's own rollback runs; then an error of the driver, which the guard is there for."""
    stage.see("undo() and Ctrl-C", _undo(stage, _interrupted(stage)))
    stage.see("undo() without a server", _undo(stage, _severed(stage)))


def happy(stage: Stage) -> None:
    """A rollback that works."""
    conn = stage.connect()
    conn.cursor().execute("INSERT INTO item VALUES (1)")
    stage.see("undo()", _undo(stage, conn))
    conn.commit()
    stage.see("rows", stage.values("SELECT id FROM item"))


def _undo(stage: Stage, conn: Any) -> str:
    try:
        stage.example.undo(conn)
    except KeyboardInterrupt as error:
        return raised(error)
    return "carries on"


def _interrupted(stage: Stage) -> Any:
    """A connection during whose rollback SIGINT arrives."""
    original = stage.driver.extensions.connection

    def rollback(conn: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        original.rollback(conn)

    return stage.driver.connect(
        stage.address, connection_factory=type("Connection", (original,), {"rollback": rollback})
    )


def _severed(stage: Stage) -> Any:
    """A connection in a transaction whose server process has been ended."""
    conn = stage.connect()
    conn.cursor().execute("SELECT 1")
    stage.execute(f"SELECT pg_terminate_backend({conn.info.backend_pid}, 10000)")
    return conn
