"""Every requirement on the orchestrator has a test that shows it, or a stated reason why it is not shown here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LITE = "tests/runtime/lite"

# Requirement -> tests, as file::function; what each one asks is in docs/runtime/orchestrator-requirements.md.
SHOWN: dict[str, tuple[str, ...]] = {
    "O01": (f"{LITE}/test_lite.py::test_files_are_private_and_in_wal_mode",
            f"{LITE}/test_lite.py::test_network_file_systems_are_refused",
            f"{LITE}/test_store.py::test_a_reader_is_not_blocked_by_a_writer"),
    "O02": (f"{LITE}/test_lite.py::test_a_backup_holds_what_only_the_log_holds_so_far",
            f"{LITE}/test_lite.py::test_what_was_acknowledged_survives_a_copy_of_the_files"),
    "O03": (f"{LITE}/test_detectors.py::test_four_issues_are_worked_on_at_the_same_time",
            f"{LITE}/test_faults.py::test_eight_slow_issues_take_the_time_of_two",
            f"{LITE}/test_end_to_end.py::test_every_log_line_names_its_thread_and_steps_run_in_workers"),
    "O04": (f"{LITE}/test_faults.py::test_only_the_storage_connects_and_ends_transactions",
            f"{LITE}/test_lite.py::test_readers_see_commits_and_cannot_write"),
    "O05": (f"{LITE}/test_faults.py::test_only_the_storage_connects_and_ends_transactions",
            f"{LITE}/test_store.py::test_a_leaked_connection_locks_everyone_out_and_a_longer_timeout_does_not_help"),
    "O06": (f"{LITE}/test_lite.py::test_four_processes_may_start_at_once",
            f"{LITE}/test_lite.py::test_a_newer_schema_and_a_damaged_file_are_refused"),
    "O07": (f"{LITE}/test_store.py::test_an_issue_that_returns_after_its_end_gets_a_new_linked_task",),
    "O08": (f"{LITE}/test_store.py::test_status_and_unknown_tasks",),
    "O09": (f"{LITE}/test_store.py::test_sixteen_threads_with_one_hash_make_one_row",),
    "O10": (f"{LITE}/test_store.py::test_a_second_github_number_is_refused_and_recorded",),
    "O11": (f"{LITE}/test_phases.py::test_a_fix_that_makes_it_worse_is_undone_and_escalated",
            f"{LITE}/test_phases.py::test_a_shipped_playbook_answers_first"),
    "O12": (f"{LITE}/test_store.py::test_an_issue_that_returns_after_its_end_gets_a_new_linked_task",
            f"{LITE}/test_store.py::test_illegal_transitions_are_refused_by_the_database"),
    "O13": (f"{LITE}/test_store.py::test_an_issue_that_returns_after_its_end_gets_a_new_linked_task",
            f"{LITE}/test_store.py::test_numbers_do_not_make_a_new_issue_but_targets_do"),
    "O14": (f"{LITE}/test_store.py::test_history_rows_cannot_be_changed",
            f"{LITE}/test_store.py::test_strange_text_is_stored_whole_or_marked"),
    "O15": (f"{LITE}/test_faults.py::test_nothing_relies_on_lastrowid_or_ignored_inserts",),
    "O16": (f"{LITE}/test_faults.py::test_nothing_relies_on_lastrowid_or_ignored_inserts",
            f"{LITE}/test_store.py::test_sixteen_threads_with_one_hash_make_one_row"),
    "O17": (f"{LITE}/test_store.py::test_create_and_close_in_any_order_follow_the_model",),
    "O18": (f"{LITE}/test_store.py::test_create_and_close_in_any_order_follow_the_model",),
    "O19": (f"{LITE}/test_faults.py::test_in_a_storm_every_detection_is_accounted_for",
            f"{LITE}/test_faults.py::test_a_minute_of_storm_is_fair_and_never_busy"),
    "O20": (f"{LITE}/test_faults.py::test_in_a_storm_every_detection_is_accounted_for",
            f"{LITE}/test_store.py::test_our_store_has_neither_error_in_the_same_storm"),
    "O21": (f"{LITE}/test_faults.py::test_in_a_storm_every_detection_is_accounted_for",
            f"{LITE}/test_crashes.py::test_kill_9_at_every_statement_of_a_cycle",
            f"{LITE}/test_crashes.py::test_kill_9_at_some_points_of_a_cycle",
            f"{LITE}/test_crashes.py::test_a_disturbance_in_the_middle_loses_and_doubles_nothing"),
    "O22": (f"{LITE}/test_faults.py::test_eight_slow_issues_take_the_time_of_two",),
    "O23": (f"{LITE}/test_faults.py::test_nothing_slow_runs_inside_a_transaction",
            f"{LITE}/test_escalation.py::test_the_network_is_refused_inside_a_transaction"),
    "O24": (f"{LITE}/test_faults.py::test_a_minute_of_storm_is_fair_and_never_busy",),
    "O25": (f"{LITE}/test_store.py::test_our_store_has_neither_error_in_the_same_storm",
            f"{LITE}/test_faults.py::test_in_a_storm_every_detection_is_accounted_for"),
    "O26": (f"{LITE}/test_faults.py::test_a_reader_that_pins_the_log_is_reported",),
    "O27": (f"{LITE}/test_detectors.py::test_the_journal_gives_each_failure_once_with_its_facts",
            f"{LITE}/test_detectors.py::test_fields_of_every_shape_become_text",
            f"{LITE}/test_detectors.py::test_failed_services_and_spawn_errors"),
    "O28": (f"{LITE}/test_detectors.py::test_all_common_wordings_of_a_taken_port",
            f"{LITE}/test_detectors.py::test_a_conflict_is_believed_only_when_somebody_listens"),
    "O29": (f"{LITE}/test_detectors.py::test_units_are_read_as_systemd_reads_them",
            f"{LITE}/test_detectors.py::test_drop_ins_override_and_empty_values_reset",
            f"{LITE}/test_detectors.py::test_every_path_a_service_needs_is_checked",
            f"{LITE}/test_detectors.py::test_what_the_user_of_a_service_may_not_enter_or_run_is_named",
            f"{LITE}/test_detectors.py::test_a_tree_of_broken_and_healthy_units_gives_exactly_these_findings",
            f"{LITE}/test_detectors.py::test_systemd_s_own_opinion_of_the_same_tree"),
    "O30": (f"{LITE}/test_detectors.py::test_a_stopped_but_wanted_service_is_checked_before_it_is_started",),
    "O31": (f"{LITE}/test_store.py::test_a_cursor_moves_with_its_issues_or_not_at_all",
            f"{LITE}/test_detectors.py::test_a_refused_cursor_falls_back_to_the_last_minutes",
            f"{LITE}/test_detectors.py::test_no_entry_is_lost_when_the_cursor_was_rotated_away",
            f"{LITE}/test_phases.py::test_a_second_orchestrator_on_one_state_is_refused"),
    "O32": (f"{LITE}/test_detectors.py::test_a_detector_that_fails_costs_only_its_own_result",
            f"{LITE}/test_phases.py::test_a_step_that_hangs_does_not_stop_the_others"),
    "O33": (f"{LITE}/test_knowledge.py::test_moves_are_followed_through_renames_of_files_and_folders",
            f"{LITE}/test_end_to_end.py::test_a_real_supervisord_is_repaired_and_the_rest_escalated"),
    "O34": (f"{LITE}/test_escalation.py::test_an_answer_that_is_lost_after_the_post_opens_no_second_issue",
            f"{LITE}/test_escalation.py::test_a_crash_after_the_post_opens_no_second_issue",
            f"{LITE}/test_escalation.py::test_a_server_that_answers_nonsense_delays_but_loses_nothing"),
    "O35": (f"{LITE}/test_knowledge.py::test_recall_at_five_over_a_hundred_questions",
            f"{LITE}/test_knowledge.py::test_only_what_changed_is_read_again",
            f"{LITE}/test_knowledge.py::test_answers_cite_file_line_and_commit"),
    "O36": (f"{LITE}/test_phases.py::test_two_weak_agents_that_agree_answer_in_phase_3",),
    "O37": (f"{LITE}/test_phases.py::test_one_agent_with_good_evidence_answers_in_phase_2",
            f"{LITE}/test_endpoint.py::test_whatever_was_invented_is_rejected"),
    "O39": (f"{LITE}/test_phases.py::test_a_shipped_playbook_answers_first",
            f"{LITE}/test_phases.py::test_one_agent_with_good_evidence_answers_in_phase_2",
            f"{LITE}/test_phases.py::test_two_weak_agents_that_agree_answer_in_phase_3",
            f"{LITE}/test_phases.py::test_what_nobody_can_answer_goes_to_a_human_who_may_approve"),
    "O40": (f"{LITE}/test_actions.py::test_every_action_has_a_radius_and_what_can_be_undone_says_how",
            f"{LITE}/test_actions.py::test_a_dry_run_changes_nothing_and_names_every_objection",
            f"{LITE}/test_actions.py::test_malformed_recipes_are_refused"),
    "O41": (f"{LITE}/test_store.py::test_patterns_are_promoted_demoted_and_survive_a_restart",),
    "O42": (f"{LITE}/test_phases.py::test_a_pattern_that_worked_five_times_is_used_at_once",
            f"{LITE}/test_corpus.py::test_broken_programs_are_repaired_and_the_second_time_sooner"),
    "O43": (f"{LITE}/test_endpoint.py::test_timeouts_errors_and_dead_endpoints_are_rejected",
            f"{LITE}/test_phases.py::test_a_step_that_hangs_does_not_stop_the_others"),
    "O44": (f"{LITE}/test_store.py::test_a_removed_or_edited_row_is_named",
            f"{LITE}/test_store.py::test_an_honest_chain_verifies"),
    "O45": (f"{LITE}/test_escalation.py::test_a_day_without_github_is_survived_in_order",),
    "O46": (f"{LITE}/test_corpus.py::test_the_corpus_is_what_was_promised",
            f"{LITE}/test_end_to_end.py::test_a_real_supervisord_is_repaired_and_the_rest_escalated"),
    "O47": (f"{LITE}/test_actions.py::test_an_override_is_written_and_restored_byte_for_byte",
            f"{LITE}/test_end_to_end.py::test_a_real_supervisord_is_repaired_and_the_rest_escalated"),
    "O48": (f"{LITE}/test_actions.py::test_only_a_proven_orphan_is_stopped",),
    "O49": (f"{LITE}/test_actions.py::test_the_shipped_recipes_are_well_formed",),
    "O50": (f"{LITE}/test_corpus.py::test_broken_programs_are_repaired_and_the_second_time_sooner",),
    "O51": (f"{LITE}/test_corpus.py::test_benign_events_are_not_escalated",),
    "O52": (f"{LITE}/test_corpus.py::test_broken_programs_are_repaired_and_the_second_time_sooner",),
    "O54": (f"{LITE}/test_faults.py::test_an_idle_orchestrator_is_small",
            f"{LITE}/test_faults.py::test_near_the_memory_limit_nothing_is_lost_and_work_is_put_off"),
    "O55": (f"{LITE}/test_faults.py::test_eight_slow_issues_take_the_time_of_two",),
    "O56": (f"{LITE}/test_faults.py::test_only_the_storage_connects_and_ends_transactions",),
    "O57": (f"{LITE}/test_faults.py::test_in_a_storm_every_detection_is_accounted_for",),
    "O58": (f"{LITE}/test_end_to_end.py::test_the_commands_around_a_running_orchestrator",
            f"{LITE}/test_phases.py::test_what_was_being_applied_is_looked_at_first_after_a_crash"),
    "O59": (f"{LITE}/test_faults.py::test_the_unit_file_says_what_was_promised",
            f"{LITE}/test_faults.py::test_systemd_accepts_the_unit_file"),
    "S01": ("tests/contract/test_dogfood.py::*",
            f"{LITE}/test_faults.py::test_nothing_is_printed_or_suppressed"),
    "S03": (f"{LITE}/test_store.py::test_a_leaked_connection_locks_everyone_out_and_a_longer_timeout_does_not_help",
            f"{LITE}/test_store.py::test_either_not_failing_or_releasing_cures_it"),
    "S04": (f"{LITE}/test_end_to_end.py::test_help_lists_every_verb",
            f"{LITE}/test_end_to_end.py::test_issues_are_handed_in_and_stuck_tasks_freed_by_command"),
    "S05": (f"{LITE}/test_actions.py::test_a_task_is_handed_to_the_executor_by_its_command_line",
            "tests/runtime/pg/test_upward.py::test_two_hosts_report_the_same_thing_once"),
    "S06": (f"{LITE}/test_faults.py::test_without_a_network_everything_but_the_sending_works",),
}  # fmt: skip

REASONS: dict[str, str] = {
    "O38": "20 ms per search is a time, and tests measure none: benchmarks/orchestrator.py memory prints it.",
    "O53": "Seven minutes is how long a person worked; what is measured instead is O52.",
    "S02": "The code of the reports is kept and checked with the linter's rules, not with the runtime.",
}
ALL = {f"O{number:02}" for number in range(1, 60)} | {f"S{number:02}" for number in range(1, 7)}


def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_requirement_is_shown_or_has_a_reason() -> None:
    assert set(SHOWN) | set(REASONS) == ALL
    assert set(SHOWN) & set(REASONS) == set()
    assert all(len(reason) > 40 for reason in REASONS.values())


@pytest.mark.parametrize("requirement", sorted(SHOWN))
def test_the_tests_exist(requirement: str) -> None:
    for name in SHOWN[requirement]:
        file, _, function = name.partition("::")
        assert function == "*" or function in functions(file), name


def test_the_page_lists_every_requirement() -> None:
    page = (ROOT / "docs/runtime/orchestrator-requirements.md").read_text(encoding="utf-8")
    assert {name for name in ALL if f"| {name} |" in page} == ALL
