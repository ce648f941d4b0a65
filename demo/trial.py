"""Runs an executor file on a real PostgreSQL and lets each statement of its eight methods fail once.

A task, in the middle of its own work, calls one of the executor's methods; at that moment the statement in it cannot
succeed, since a column has just been renamed by somebody else. The method swallows the error. What happens to the
task's next statement, and to the two tasks that wait?
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.errors import InFailedSqlTransaction

from demo.storm import load

TASKS = 3
ASSIGNEE = "demo"
SEED = f"""
TRUNCATE jr_task_announcements, jr_task_history, thermal_memory, fara_mistakes, fara_rules RESTART IDENTITY;
INSERT INTO jr_task_announcements (assigned_to, task_type, title)
    SELECT '{ASSIGNEE}', CASE n WHEN 1 THEN 'trial' ELSE 'plain' END, 'task ' || n FROM generate_series(1, {TASKS}) n;
INSERT INTO thermal_memory (content, temperature) VALUES ('about task 1', 80);
"""

CHECKOUT = "_get_connection"


@dataclass(frozen=True, slots=True)
class Case:
    """One statement of one method: called with the arguments, it fails while `table` has no column `column`."""

    method: str
    table: str
    column: str
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    The method's own words, the SQLSTATE of the task's next statement (None: it ran), how many of the three tasks were
    completed.
    """

    case: Case
    said: str
    sqlstate: str | None
    completed: int


CASES = (
    Case("get_assigned_tasks", "jr_task_announcements", "priority"),
    Case("start_task", "jr_task_announcements", "started_at", (1,)),
    Case("start_task", "jr_task_history", "event", (1,)),
    Case("complete_task", "jr_task_announcements", "result", (1, "done")),
    Case("complete_task", "jr_task_history", "event", (1, "done")),
    Case("fail_task", "jr_task_announcements", "finished_at", (1, "too hard")),
    Case("fail_task", "jr_task_history", "detail", (1, "too hard")),
    Case("log_to_thermal_memory", "thermal_memory", "content", ("this was easy",)),
    Case("_query_thermal_memory", "thermal_memory", "temperature", ("task",)),
    Case("_query_thermal_memory", "thermal_memory", "access_count", ("task",)),
    Case("_record_fara_mistake", "fara_mistakes", "mistake", ("trial", "too hasty", "read twice")),
    Case("_record_fara_mistake", "fara_rules", "weight", ("trial", "too hasty", "read twice")),
    Case("_get_fara_rules", "fara_rules", "weight", ("trial",)),
)
METHODS = tuple(dict.fromkeys(case.method for case in CASES))


def run_sql(dsn: str, script: str) -> None:
    """Run statements on a connection of their own; each of them is final at once. Raises psycopg2.Error."""
    with contextlib.closing(psycopg2.connect(dsn, connect_timeout=10)) as conn:
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute("SET lock_timeout = '10s'")
            cur.execute(script)


def completed_tasks(dsn: str) -> int:
    """How many tasks the executor has completed. Raises psycopg2.Error."""
    with contextlib.closing(psycopg2.connect(dsn, connect_timeout=10)) as conn, conn, conn.cursor() as cur:
        cur.execute("SELECT count(*) FROM jr_task_announcements WHERE status = 'completed'")
        (count,) = cur.fetchone() or (0,)
        return int(count)


@contextlib.contextmanager
def column_away(dsn: str, table: str, column: str) -> Iterator[None]:
    """Rename a column for the length of the block, as a migration at the wrong moment does."""
    run_sql(dsn, f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_away")
    try:
        yield
    finally:
        run_sql(dsn, f"ALTER TABLE {table} RENAME COLUMN {column}_away TO {column}")


def try_case(path: Path, dsn: str, case: Case) -> Outcome:
    """Let a fresh executor from `path` run three tasks, the first of which meets the case.

    Raises what the executor raises, except InFailedSqlTransaction, which is an outcome.
    """

    def trial(executor: Any, _task: Mapping[str, Any]) -> str:
        with getattr(executor, CHECKOUT)().cursor() as cur:
            with column_away(dsn, case.table, case.column):
                getattr(executor, case.method)(*case.arguments)
            cur.execute("SELECT 'the next statement'")
            (text,) = cur.fetchone()
            return str(text)

    run_sql(dsn, SEED)
    executor = load(path).TaskExecutor(ASSIGNEE, dsn, {"trial": trial, "plain": lambda _, task: task["title"]})
    sqlstate = None
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.closing(executor):
        try:
            executor.run_once()
        except InFailedSqlTransaction as error:
            sqlstate = error.pgcode
    return Outcome(case, said.getvalue().strip(), sqlstate, completed_tasks(dsn))


def try_all(path: Path, dsn: str) -> tuple[Outcome, ...]:
    """Every case, one after the other, in a database that holds the executor's tables."""
    return tuple(try_case(path, dsn, case) for case in CASES)
