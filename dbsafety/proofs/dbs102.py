"""The proof of DBS102: the status update of a handler is refused, and hides the error it was to record."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B1a", "B8e"),
    drivers=("psycopg2",),
    setup=(
        "CREATE TABLE task (id int PRIMARY KEY, status text)",
        "INSERT INTO task VALUES (1, 'running')",
        "CREATE TABLE result (task_id int PRIMARY KEY REFERENCES task)",
        "INSERT INTO result VALUES (1)",
    ),
    story="Task 1 has a result already when it is finished, so the INSERT fails; the handler is to note that.",
    bad={
        "finish(1)": "InFailedSqlTransaction 25P02: current transaction is aborted, commands ignored until...",
        "status of task 1": "['running']",
    },
    good={
        "finish(1)": "UniqueViolation 23505: duplicate key value violates unique constraint...",
        "status of task 1": "['failed']",
    },
)


def failing(stage: Stage) -> None:
    """A second result of the same task."""
    conn = stage.connect()
    stage.see("finish(1)", stage.attempt(lambda: stage.example.finish(conn, 1)))
    stage.see("status of task 1", stage.values("SELECT status FROM task WHERE id = 1"))


def happy(stage: Stage) -> None:
    """The first result of a task."""
    stage.execute("DELETE FROM result")
    stage.see("returned", stage.attempt(lambda: stage.example.finish(stage.connect(), 1)))
    stage.see("rows", stage.rows("SELECT task_id, status FROM result JOIN task ON id = task_id"))
