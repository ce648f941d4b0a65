"""The executor on a real PostgreSQL: one statement after the other of its eight methods fails in the middle of a task.

As it was, the task's next statement fails with 25P02 and takes the executor down; fixed, all tasks are completed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbsafety_runtime.ops.embedded import EmbeddedPostgres
from demo.incident import EXECUTOR, EXECUTOR_PATCHED, INCIDENTS, SCHEMA
from demo.storm import load
from demo.trial import CASES, METHODS, TASKS, Case, Outcome, run_sql, try_case

EIGHT = {
    "get_assigned_tasks",
    "start_task",
    "complete_task",
    "fail_task",
    "log_to_thermal_memory",
    "_query_thermal_memory",
    "_record_fara_mistake",
    "_get_fara_rules",
}
pytestmark = pytest.mark.xdist_group("incidents on postgres")
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method}-{case.table}.{case.column}")


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A database with the executor's tables."""
    with EmbeddedPostgres() as server:
        run_sql(server.dsn, SCHEMA.read_text(encoding="utf-8"))
        yield server.dsn


def end(outcome: Outcome) -> tuple[str | None, int]:
    return outcome.sqlstate, outcome.completed


def swallowed_once(outcome: Outcome) -> bool:
    """Whether the method met the failure that was made for it, said so and went on."""
    return outcome.said.count("Error ") == 1 and f"{outcome.case.column}" in outcome.said.splitlines()[0]


def test_every_method_of_the_report_has_a_case() -> None:
    assert set(METHODS) == EIGHT


@each_case
def test_before_the_next_statement_fails(case: Case, dsn: str) -> None:
    outcome = try_case(INCIDENTS / EXECUTOR, dsn, case)
    assert swallowed_once(outcome), outcome.said
    assert end(outcome) == ("25P02", 0)


@each_case
def test_with_the_reports_own_patch_the_next_statement_runs(case: Case, dsn: str) -> None:
    outcome = try_case(INCIDENTS / EXECUTOR_PATCHED, dsn, case)
    assert swallowed_once(outcome), outcome.said
    assert end(outcome) == (None, TASKS)


@each_case
def test_fixed_it_survives(case: Case, dsn: str, fixed: Path) -> None:
    outcome = try_case(fixed / EXECUTOR, dsn, case)
    assert swallowed_once(outcome), outcome.said
    assert end(outcome) == (None, TASKS)


def test_without_a_server_the_fixed_handlers_need_no_connection(
    fixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = load(fixed / EXECUTOR).TaskExecutor("nobody", "host=127.0.0.1 port=1", {})
    for case in CASES:
        getattr(executor, case.method)(*case.arguments)
    assert capsys.readouterr().out.count("Connection refused") == len(CASES)
