"""Every requirement on the executor has a test that shows it, or a stated reason why it is shown elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PG = "tests/runtime/pg"

# Requirement -> tests, as file::function; what the requirement asks is in docs/runtime/executor-requirements.md.
SHOWN: dict[str, tuple[str, ...]] = {
    "E01": (f"{PG}/test_worker.py::test_it_drains_tasks_and_stays_up",
            f"{PG}/test_cli.py::test_the_demonstration_with_faults"),
    "E02": (f"{PG}/test_queue.py::test_18_each_statement_of_each_method_fails_and_the_next_call_succeeds",),
    "E03": (f"{PG}/test_worker.py::test_one_poison_task_among_a_hundred",),
    "E04": (f"{PG}/test_storage.py::test_the_block_commits_on_its_normal_end_and_rolls_back_on_any_exception",),
    "E05": (f"{PG}/test_storage.py::test_a_pool_hands_out_no_dirty_session",
            f"{PG}/test_storage.py::test_a_scrubbed_session_forgets_what_foreign_code_left"),
    "E06": (f"{PG}/test_queue.py::test_two_executors_never_get_the_same_task",
            f"{PG}/test_queue.py::test_peeking_claims_nothing_and_orders_by_priority_then_age"),
    "E07": (f"{PG}/test_queue.py::test_start_task_gives_a_fresh_attempt_once",),
    "E08": (f"{PG}/test_queue.py::test_completion_result_and_history_are_one_commit",
            f"{PG}/test_queue.py::test_a_stale_worker_cannot_finish_anothers_attempt"),
    "E09": (f"{PG}/test_queue.py::test_failures_retry_with_growing_pauses_then_fail",
            f"{PG}/test_worker.py::test_19_bad_handlers_are_recorded_and_harm_nobody"),
    "E10": (f"{PG}/test_queue.py::test_failing_side_steps_are_counted_and_change_no_outcome",),
    "E11": (f"{PG}/test_queue.py::test_memory_ranks_by_text_and_heat_and_warms_what_it_returns",),
    "E12": (f"{PG}/test_queue.py::test_mistakes_are_counted_in_one_row",),
    "E13": (f"{PG}/test_queue.py::test_rules_come_by_weight",
            f"{PG}/test_queue.py::test_failing_side_steps_are_counted_and_change_no_outcome"),
    "E17": (f"{PG}/test_storage.py::test_a_lost_session_before_the_commit_is_run_again",
            f"{PG}/test_worker.py::test_6_sessions_ended_while_idle"),
    "E18": ("tests/runtime/test_ops.py::test_secrets_stay_out_of_logs",
            "tests/runtime/test_requirements_executor.py::test_the_runtime_prints_only_in_commands"),
    "E19": (f"{PG}/test_worker.py::test_38_sigterm_hands_back_what_waits_and_what_stops_on_request",
            f"{PG}/test_processes.py::test_3_kill_9_by_signal_while_the_handler_runs",
            f"{PG}/test_processes.py::test_38_the_second_sigterm_ends_at_once_and_the_lease_does_the_rest"),
    "E20": (f"{PG}/test_processes.py::test_it_runs_from_any_directory",),
    "E21": (f"{PG}/test_cli.py::test_reset_stuck_prints_ids_and_can_only_look",
            f"{PG}/test_worker.py::test_39_reset_stuck_leaves_a_living_owners_tasks_alone"),
    "E22": (f"{PG}/test_packaging.py::test_the_start_script_keeps_names_whole_and_the_process_id",
            f"{PG}/test_queue.py::test_names_with_spaces_quotes_and_dots_survive"),
    "E23": (f"{PG}/test_cli.py::test_a_server_that_is_down_at_the_start_is_waited_for",
            f"{PG}/test_cli.py::test_a_newer_schema_stops_the_start",
            f"{PG}/test_processes.py::test_40_two_processes_with_one_worker_id"),
    "E24": (f"{PG}/test_packaging.py::test_systemd_itself_accepts_the_unit",
            f"{PG}/test_packaging.py::test_the_unit_notifies_is_watched_and_gives_up_after_five_failures",
            f"{PG}/test_processes.py::test_35_the_service_managers_watchdog_is_fed_by_progress_only"),
    "E25": (f"{PG}/test_storage.py::test_19_a_swallowed_failure_is_never_committed",),
    "E26": (f"{PG}/test_storage.py::test_a_pool_hands_out_no_dirty_session",),
    "E27": (f"{PG}/test_storage.py::test_reads_leave_no_transaction_open_and_cannot_write",),
    "E29": (f"{PG}/test_cli.py::test_health_is_healthy_degraded_or_down",
            f"{PG}/test_cli.py::test_health_of_a_server_that_is_away"),
    "E30": (f"{PG}/test_cli.py::test_health_is_healthy_degraded_or_down",
            "tests/runtime/test_ops.py::test_other_log_forms"),
    "E31": (f"{PG}/test_cli.py::test_status_shows_what_is_most_likely_stuck",),
    "E32": (f"{PG}/test_migrate.py::test_a_legacy_table_is_migrated_in_place",),
    "E33": (f"{PG}/test_queue.py::test_the_database_itself_refuses_illegal_transitions",),
    "E34": (f"{PG}/test_queue.py::test_peeking_claims_nothing_and_orders_by_priority_then_age",),
    "E35": (f"{PG}/test_queue.py::test_the_limit_of_an_assignee_holds_over_eight_workers",),
    "E36": (f"{PG}/test_storage.py::test_limits_are_set_on_the_server_after_those_of_the_dsn",
            f"{PG}/test_cli.py::test_mistakes_are_one_clear_line_and_code_2",
            f"{PG}/test_storage.py::test_11_a_silent_peer_is_cut"),
    "E37": (f"{PG}/test_soak.py::test_random_faults_lose_nothing_and_settle_nothing_twice",
            f"{PG}/test_soak.py::test_ten_minutes_of_random_faults"),
    "E38": ("tests/runtime/test_requirements_executor.py::test_the_page_of_faults_names_tests_that_exist",),
    "E39": ("tests/runtime/test_requirements_executor.py::test_every_promise_has_a_test",),
    "S03": (f"{PG}/test_storage.py::test_19_a_swallowed_failure_is_never_committed",
            f"{PG}/test_storage.py::test_a_scrubbed_session_forgets_what_foreign_code_left"),
    "S04": (f"{PG}/test_cli.py::test_enqueue_run_and_look",
            f"{PG}/test_cli.py::test_health_is_healthy_degraded_or_down"),
    "S06": (f"{PG}/test_cli.py::test_without_a_dsn_a_private_server_is_started_and_shared",),
}  # fmt: skip

ELSEWHERE: dict[str, str] = {
    "E14": "about the linter: the fixture rebuilt from the incident report is checked with the rules",
    "E15": "about the linter: the fixer's golden pairs are idempotent and run on real drivers",
    "E16": "about the linter: a refused or failed fix leaves the bytes as they were",
    "E28": "measured, not asserted in one test: `python tests/runtime/error_paths.py` after a run under coverage",
    "S01": "the dogfood test of the whole project covers the runtime, without suppressions",
    "S02": "golden fixtures of the linter",
    "S05": "two worker processes on one database stand for two hosts (E06, E19); the orchestrator has its own test",
}
PROMISES: dict[str, str] = {
    "at-least-once execution": f"{PG}/test_processes.py::test_1_to_5_kill_9_at_each_stage",
    "each attempt settles once, even if the answer is lost":
        f"{PG}/test_storage.py::test_9_a_commit_whose_answer_is_lost_counts_once",
    "an acknowledged task survives any single crash":
        f"{PG}/test_server.py::test_14_15_the_server_restarts_under_a_worker",
    "a stale worker never changes a task": f"{PG}/test_processes.py::test_33_a_stopped_worker_is_overtaken_and_refused",
    "a failed statement never affects the next unit of work":
        f"{PG}/test_queue.py::test_18_each_statement_of_each_method_fails_and_the_next_call_succeeds",
    "recovery is bounded": f"{PG}/test_soak.py::test_recovery_times",
    "effects in the same database can be exactly once":
        f"{PG}/test_worker.py::test_effect_and_completion_in_one_commit",
}  # fmt: skip


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {name for name in functions if name.startswith("test_")}


def exists(node: str) -> bool:
    path, _, name = node.partition("::")
    return (ROOT / path).exists() and name in names_in(path)


@pytest.mark.parametrize("requirement", [*(f"E{n:02d}" for n in range(1, 40)), *(f"S{n:02d}" for n in range(1, 7))])
def test_every_requirement_is_shown_or_has_a_reason(requirement: str) -> None:
    assert (requirement in SHOWN) is not (requirement in ELSEWHERE)
    assert [node for node in SHOWN.get(requirement, ()) if not exists(node)] == []


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_has_a_test(promise: str) -> None:
    assert exists(PROMISES[promise])


def test_the_page_of_faults_names_tests_that_exist() -> None:
    page = (ROOT / "docs/runtime/executor-faults.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    faults = {row[0]: row for row in rows if row[0].isdigit()}
    assert sorted(map(int, faults)) == [*range(1, 24), *range(31, 43)]
    for number, row in faults.items():
        assert len(row) == 5, number
        assert all(row), number
        assert exists(f"{PG}/{row[4].strip('`')}"), row[4]


def test_the_runtime_prints_only_in_commands() -> None:
    package = ROOT / "runtime/dbsafety_runtime"
    for path in [*package.glob("executor/*.py"), *package.glob("ops/*.py"), *package.glob("storage/*.py")]:
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"], path
