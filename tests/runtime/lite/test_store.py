from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.learning import known_recipes, learn, lower_bound, patterns, trusted
from dbsafety_runtime.orchestrator.model import Issue, Plan, Step
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import Rejected
from tests.runtime.lite.doubles import FrozenClock
from tests.runtime.lite.storm import IncidentOrchestrator


def issue(n: object = 1, target: str = "api", kind: str = "service_failure") -> Issue:
    return Issue(kind, "test", target, f"went down with {n!r}", {"n": str(n)})


def actions(store: IncidentStore, task_id: int) -> list[str]:
    return [entry.action for entry in ledger.history(store.db, task_id)]


# The incident


def test_a_leaked_connection_locks_everyone_out_and_a_longer_timeout_does_not_help(tmp_path: Path) -> None:
    before = IncidentOrchestrator(tmp_path / "before.db", timeout=0.05).cycle()
    longer = IncidentOrchestrator(tmp_path / "longer.db", timeout=0.15).cycle()
    for outcome in (before, longer):
        assert outcome.errors["IntegrityError"] >= 1
        assert outcome.errors["OperationalError"] >= 1, "database is locked"


def test_either_not_failing_or_releasing_cures_it(tmp_path: Path) -> None:
    ignoring = IncidentOrchestrator(tmp_path / "ignore.db", timeout=0.05, ignore=True).cycle()
    assert (ignoring.errors, ignoring.rows) == (Counter(), 10)
    releasing = IncidentOrchestrator(tmp_path / "release.db", timeout=0.05, release=True).cycle()
    assert (releasing.errors, releasing.rows) == (Counter({"IntegrityError": 14}), 10)


def test_our_store_has_neither_error_in_the_same_storm(store: IncidentStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda n: store.create_task(issue(f"h{'abcdefghij'[n % 10]}")), range(24)))
    assert len(set(ids)) == 10
    assert sum(task.occurrences for task in store.tasks()) == 24


# The seven methods


def test_sixteen_threads_with_one_hash_make_one_row(store: IncidentStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(lambda _: store.create_task(issue()), range(1600)))
    assert set(ids) == {ids[0]}
    (task,) = store.tasks()
    assert task.occurrences == 1600
    assert actions(store, task.id) == ["detected"]


def test_an_issue_that_returns_after_its_end_gets_a_new_linked_task(store: IncidentStore, clock: FrozenClock) -> None:
    first = store.create_task(issue())
    assert store.task_exists(issue().hash) == first
    clock.tick(90)
    assert store.close_task(first, "resolved", "fixed", "test")
    assert not store.close_task(first, "closed", "again", "test")
    assert store.task_exists(issue().hash) is None
    second = store.create_task(issue())
    task = store.task(second)
    assert task is not None
    assert (second != first, task.reopened_from, task.occurrences) == (True, first, 1)
    (detected,) = ledger.history(store.db, second)
    assert f'"reopened_from": {first}' in detected.details
    assert '"seconds_since_first_seen": 90.0' in ledger.history(store.db, first)[-1].details


def test_numbers_do_not_make_a_new_issue_but_targets_do(store: IncidentStore) -> None:
    same = {store.create_task(Issue("x", "test", "api", f"pid {pid} at 0x{pid:x} died")) for pid in (71, 4242)}
    other = store.create_task(Issue("x", "test", "web", "pid 71 at 0x47 died"))
    assert len(same) == 1
    assert other not in same


def test_a_second_github_number_is_refused_and_recorded(store: IncidentStore) -> None:
    task_id = store.create_task(issue())
    assert store.update_task_github(task_id, "7")
    assert store.update_task_github(task_id, "7")
    assert not store.update_task_github(task_id, "8")
    task = store.task(task_id)
    assert task is not None
    assert task.github_ref == "7"
    assert actions(store, task_id)[-1] == "issue refused"


def test_status_and_unknown_tasks(store: IncidentStore, clock: FrozenClock) -> None:
    task_id = store.create_task(issue())
    status = store.get_task_status(task_id)
    assert status is not None
    assert (status.status, status.attempts, status.changed_at) == ("detected", 0, clock.now)
    assert store.get_task_status(99) is None
    assert store.task(99) is None
    store.update_task_fix_attempt(99, 1, "failed", "no such attempt")
    assert store.counts() == {"detected": 1}


def test_illegal_transitions_are_refused_by_the_database(store: IncidentStore) -> None:
    task_id = store.create_task(issue())
    with pytest.raises(Rejected, match="illegal transition"):
        store.db.write(lambda tx: tx.execute("UPDATE tasks SET status = 'verifying' WHERE id = ?", (task_id,)))


def test_a_cursor_moves_with_its_issues_or_not_at_all(store: IncidentStore) -> None:
    store.record_scan("journal", [issue(1)], "c1")
    bad = Issue("x", "journal", "api", "m", {"n": object()})
    with pytest.raises(AttributeError):
        store.record_scan("journal", [issue("two", "web"), bad], "c2")
    assert store.cursor("journal") == "c1"
    assert len(store.tasks()) == 1
    assert store.cursor("ports") is None


def test_strange_text_is_stored_whole_or_marked(store: IncidentStore) -> None:
    odd = store.task(store.create_task(Issue("x", "j", "a\0b", "nul \0 surrogate \ud800 \U0001f600", {"k": "\0"})))
    assert odd is not None
    assert odd.issue.message == "nul \\0 surrogate ? \U0001f600"
    long = store.task(store.create_task(Issue("x", "j", "api", "y" * 1_000_000)))
    assert long is not None
    assert len(long.issue.message) == 16_384
    assert long.issue.message.endswith(" [cut]")
    assert '"cut": true' in ledger.history(store.db, long.id)[0].details


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["create", "resolve", "close"])), max_size=25))
def test_create_and_close_in_any_order_follow_the_model(
    tmp_path_factory: pytest.TempPathFactory, program: list[tuple[str, str]]
) -> None:
    store = IncidentStore.init_database(tmp_path_factory.mktemp("model") / "t.db")
    model: dict[str, int] = {}
    made = 0
    for name, verb in program:
        if verb == "create":
            task_id = store.create_task(issue(name))
            made += name not in model
            assert model.setdefault(name, task_id) == task_id
        elif name in model:
            store.close_task(model.pop(name), "resolved" if verb == "resolve" else "closed", "", "test")
    assert len(store.tasks()) == made
    assert {task.id for task in store.tasks("detected")} == set(model.values())
    assert ledger.verify(store.db)[1] == ()
    store.close_store()


# The audit trail


def tampered(store: IncidentStore, *statements: str) -> tuple[str, ...]:
    with closing(sqlite3.connect(store.db.path, timeout=5.0, isolation_level=None)) as conn:
        conn.execute("DROP TRIGGER history_is_not_updated")
        conn.execute("DROP TRIGGER history_is_not_deleted")
        for statement in statements:
            conn.execute(statement)
    return ledger.verify(store.db)[1]


def test_an_honest_chain_verifies(store: IncidentStore) -> None:
    for n in "abcde":
        store.create_task(issue(n))
    assert ledger.verify(store.db) == (5, ())


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE task_history SET details = '{}' WHERE id = 3", "row 3 edited (task 3, detected)"),
        ("DELETE FROM task_history WHERE id = 3", "row 3 removed before row 4"),
        ("DELETE FROM task_history WHERE id IN (1, 2)", "row 1 to 2 removed before row 3"),
        ("DELETE FROM task_history WHERE id = 5", "row 5 to 5 removed at the end"),
        ("UPDATE task_history SET prev_hash = zeroblob(32), hash = zeroblob(32) WHERE id = 2", "row 2 edited"),
    ],
)
def test_a_removed_or_edited_row_is_named(store: IncidentStore, statement: str, problem: str) -> None:
    for n in "abcde":
        store.create_task(issue(n))
    assert problem in " / ".join(tampered(store, statement))


@pytest.mark.parametrize("statement", ["UPDATE task_history SET actor = 'x'", "DELETE FROM task_history"])
def test_history_rows_cannot_be_changed(store: IncidentStore, statement: str) -> None:
    store.create_task(issue())
    with pytest.raises(Rejected, match="append-only"):
        store.db.write(lambda tx: tx.execute(statement))


# Learning


def test_trust_needs_five_trials_and_a_high_lower_bound() -> None:
    assert [trusted(n, 0) for n in range(7)] == [False] * 5 + [True, True]
    assert not trusted(6, 1)
    assert trusted(20, 1)
    assert lower_bound(5, 0) == pytest.approx(0.812, abs=0.001)


def test_patterns_are_promoted_demoted_and_survive_a_restart(store: IncidentStore, clock: FrozenClock) -> None:
    def count(*, success: bool) -> None:
        learn(store, 0, "sig", "restart", success=success)

    for _ in range(5):
        assert known_recipes(store.db, "sig") == ()
        count(success=True)
    assert known_recipes(store.db, "sig") == ("restart",)
    again = IncidentStore.init_database(store.db.path, clock)
    assert known_recipes(again.db, "sig") == ("restart",)
    again.close_store()
    count(success=False)
    assert known_recipes(store.db, "sig") == ()
    assert [(p.successes, p.failures, p.promoted) for p in patterns(store.db)] == [(5, 1, False)]
    assert actions(store, 0) == ["promoted", "demoted"]


def test_plans_survive_storage() -> None:
    plan = Plan("r", (Step("start", {"service": "api"}),), "agent", 0.75, ("e1",), "because")
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.steps[0].text() == "start(service=api)"


def test_a_reader_is_not_blocked_by_a_writer(store: IncidentStore) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold(_tx: object) -> None:
        entered.set()
        leave.wait(30)

    store.create_task(issue())
    thread = threading.Thread(target=store.db.write, args=(hold,))
    thread.start()
    entered.wait(30)
    assert len(store.tasks()) == 1
    leave.set()
    thread.join()
