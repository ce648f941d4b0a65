"""The proof of DBS101: after a swallowed error every statement on the connection is refused."""

from __future__ import annotations

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage, send

PROOF = Proof(
    facts=("B1a",),
    drivers=("psycopg2",),
    setup=(
        "CREATE TABLE task (id int PRIMARY KEY, status text)",
        "INSERT INTO task VALUES (1, 'new'), (2, 'new')",
    ),
    story="start(1) is given up by the server while somebody changes the table; then start(2) is called.",
    bad={
        "start(1)": "False",
        "start(2)": "False",
        "the next statement": "InFailedSqlTransaction 25P02: current transaction is aborted, commands ignored until...",
        "running": "[]",
    },
    good={"start(1)": "False", "start(2)": "True", "the next statement": "[(1,)]", "running": "[2]"},
)


def failing(stage: Stage) -> None:
    """The column is away while the first task is started."""
    tasks = stage.example.Tasks(stage.address)
    stage.execute("ALTER TABLE task RENAME COLUMN status TO status_away")
    stage.see("start(1)", tasks.start(1))
    stage.execute("ALTER TABLE task RENAME COLUMN status_away TO status")
    stage.see("start(2)", tasks.start(2))
    stage.see("the next statement", stage.attempt(lambda: send(tasks.conn, "SELECT 1")))
    stage.see("running", stage.values("SELECT id FROM task WHERE status = 'running' ORDER BY id"))


def happy(stage: Stage) -> None:
    """Both tasks are started."""
    tasks = stage.example.Tasks(stage.address)
    stage.see("returned", [tasks.start(1), tasks.start(2)])
    stage.see("rows", stage.rows("SELECT id, status FROM task ORDER BY id"))
