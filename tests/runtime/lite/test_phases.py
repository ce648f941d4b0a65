from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dbsafety_runtime.orchestrator import gate, ledger, operator
from dbsafety_runtime.orchestrator.agents import consult
from dbsafety_runtime.orchestrator.catalogue import shipped
from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.health import examine
from dbsafety_runtime.orchestrator.knowledge import file_source
from dbsafety_runtime.orchestrator.learning import known_recipes, learn
from dbsafety_runtime.orchestrator.model import Issue, ManagerError, Plan, Step, Task
from dbsafety_runtime.orchestrator.report import build, compute, percentile
from dbsafety_runtime.orchestrator.views import Case
from tests.runtime.lite.bench import Bench
from tests.runtime.lite.doubles import ScriptedManager

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path, manager: ScriptedManager) -> Iterator[Make]:
    made: list[Bench] = []

    def build_bench(**settings: object) -> Bench:
        made.append(Bench(tmp_path, manager, **settings))
        return made[-1]

    yield build_bench
    for bench in made:
        bench.close()


def moved(manager: ScriptedManager, tmp_path: Path, name: str = "api") -> Path:
    """A service whose working directory lies elsewhere now."""
    new = tmp_path / "platform" / name
    new.mkdir(parents=True)
    manager.add(name, directory=f"{tmp_path}/srv/{name}")
    manager.on_start[name] = lambda: "running" if Path(manager.configs[name].directory).exists() else "failed"
    return new


def document(bench: Bench, tmp_path: Path, text: str) -> None:
    file = tmp_path / "CLAUDE.md"
    file.write_text(text, encoding="utf-8")
    bench.work.knowledge.refresh(file_source(file, "document"))


# Phase 0


def test_a_service_that_comes_back_by_itself_is_left_alone(make: Make, manager: ScriptedManager) -> None:
    manager.add("api", "starting")
    bench = make(detectors=[])
    bench.store.create_task(Issue("service_failure", "services", "api", "went away"))
    bench.run(6)
    assert bench.task("api").status == "detected", "its manager is still trying"
    manager.set("api", "running")
    bench.run(10)
    assert (bench.task("api").resolution, manager.calls) == ("recovered", [])


def test_the_more_specific_issue_explains_the_others(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    moved(manager, tmp_path)
    bench = make()
    bench.run(2)
    kinds = {task.issue.type: (task.status, task.parent) for task in bench.store.tasks()}
    cause = next(task.id for task in bench.store.tasks() if task.issue.type == "path_invalid")
    assert kinds["service_failure"] == ("suppressed", cause)


def test_many_like_issues_at_once_become_one(make: Make, manager: ScriptedManager) -> None:
    for number in range(200):
        manager.add(f"unit{number:03}")
        manager.on_start[f"unit{number:03}"] = lambda: "failed"
    bench = make(storm=20)
    bench.run(15)
    assert bench.store.counts() == {"suppressed": 199, "escalated": 1}
    assert len(bench.store.db.rows("SELECT 1 FROM outbox")) == 1
    assert len([call for call in manager.calls if call.startswith("start")]) <= 3


# Phases 1 to 4


def test_a_shipped_playbook_answers_first(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make()
    bench.run(20)
    task = bench.task("api")
    assert (task.status, task.resolution, task.phase) == ("resolved", "verified", 1)
    assert manager.calls == ["reset api", "stop api", "start api"]
    assert bench.story("api") == ["detected", "diagnosing", "applying", "applied", "verifying", "verified", "resolved"]


def test_one_agent_with_good_evidence_answers_in_phase_2(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    new = moved(manager, tmp_path)
    bench = make()
    document(bench, tmp_path, f"# api\n\nThe api service was moved and lives in {new} now.\n")
    bench.run(20)
    task = bench.task("api")
    path_task = next(task for task in bench.store.tasks() if task.issue.type == "path_invalid")
    assert (path_task.resolution, path_task.phase) == ("verified", 2)
    assert path_task.plan is not None
    assert path_task.plan.evidence[0].endswith(f"{tmp_path}/CLAUDE.md:1")
    assert task.resolution in ("symptom", "verified")


def test_two_weak_agents_that_agree_answer_in_phase_3(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    new = moved(manager, tmp_path)
    bench = make()
    case = Case.of(
        Issue("path_invalid", "p", "api", "gone", {"path": f"{tmp_path}/srv/api"}), manager, bench.work.knowledge
    )
    plan, why = consult(bench.work.treatment.panel, case, bench.work.treatment.recipes)
    assert (plan, why) == (None, "the agents disagree: runtime agent: use-new-path")
    bench.run(9)
    assert manager.calls == []
    document(bench, tmp_path, f"# api\n\nThe api service was moved and lives in {new} now.\n")
    bench.work.treatment.single = Unsure()
    bench.run(30)
    path_task = next(task for task in bench.store.tasks() if task.issue.type == "path_invalid")
    assert (path_task.resolution, path_task.phase) == ("verified", 3)
    assert path_task.plan is not None
    assert (path_task.plan.by, path_task.plan.reason) == ("panel", "2 of 3 agents agree")
    assert len(path_task.plan.evidence) == 2


class Unsure:
    name = "unsure"

    def propose(self, case: Case, recipes: object) -> Plan | None:
        return None


def test_what_nobody_can_answer_goes_to_a_human_who_may_approve(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make(auto_fix=False)
    bench.run(15)
    task = bench.task("api")
    assert (task.status, task.phase) == ("escalated", 4)
    ((body,),) = bench.store.db.rows("SELECT body FROM outbox")
    assert "Proposed plan `restart`" in body
    assert f"`orchestrator approve {task.id}`" in body
    assert manager.calls == []
    operator.approve(bench.store, task.id)
    with pytest.raises(operator.Refused, match=f"task {task.id} does not wait for approval"):
        operator.approve(bench.store, task.id)
    bench.run(15)
    assert (bench.task("api").resolution, bench.task("api").plan.by) == ("approved", "operator")
    assert compute(bench.store.db).fix_rate == 0.0, "a human was needed"
    assert [kind for (kind,) in bench.store.db.rows("SELECT kind FROM outbox ORDER BY id")] == ["create", "close"]
    assert compute(bench.store.db).false_escalations == 0


def test_an_approved_repair_that_failed_and_then_was_not_needed_withdraws_its_issue(
    make: Make, manager: ScriptedManager
) -> None:
    manager.add("api")
    bench = make(auto_fix=False)
    bench.run(15)

    def runs_already() -> str:
        manager.table["api"] = replace(manager.table["api"], state="running", started=bench.clock.now - 60)
        raise ManagerError("it is started already")

    manager.on_start["api"] = runs_already
    operator.approve(bench.store, bench.task("api").id)
    bench.run(10, detect=False)
    assert bench.store.db.rows("SELECT state FROM attempts") == [("undone",)]
    assert bench.task("api").resolution == "recovered"
    assert [kind for (kind,) in bench.store.db.rows("SELECT kind FROM outbox ORDER BY id")] == ["create", "close"]


def test_a_rejected_task_is_closed_and_its_issue_withdrawn(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make(auto_fix=False)
    bench.run(15)
    task = bench.task("api")
    operator.reject(bench.store, task.id, "no action needed")
    manager.set("api", "running")
    assert bench.task("api").resolution == "rejected: no action needed"
    assert [kind for (kind,) in bench.store.db.rows("SELECT kind FROM outbox ORDER BY id")] == ["create", "close"]
    assert compute(bench.store.db).false_escalations == 1
    with pytest.raises(operator.Refused):
        operator.reject(bench.store, task.id, "again")
    with pytest.raises(operator.Refused, match="there is no task 99"):
        operator.explain(bench.store, 99)


def test_an_escalation_that_ends_by_itself_soon_was_a_false_alarm(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make(auto_fix=False)
    bench.run(15)
    manager.set("api", "running")
    bench.run(20)
    assert (bench.task("api").status, bench.task("api").resolution) == ("resolved", "recovered")
    assert compute(bench.store.db).false_escalations == 1


# Verification, undo, learning


def test_a_fix_that_makes_it_worse_is_undone_and_escalated(
    make: Make, manager: ScriptedManager, tmp_path: Path
) -> None:
    moved(manager, tmp_path)
    manager.on_start["api"] = lambda: "failed"
    bench = make()
    document(bench, tmp_path, f"# api\n\nThe api service lives in {tmp_path}/platform/api now.\n")
    bench.run(40)
    task = next(task for task in bench.store.tasks() if task.issue.type == "path_invalid")
    assert task.status == "escalated"
    assert not manager.override_file("api").exists()
    rows = bench.store.db.rows("SELECT state, outcome FROM attempts ORDER BY id")
    assert rows[0] == ("undone", "the service is failed")
    assert bench.store.db.rows("SELECT failures FROM pattern WHERE recipe = 'use-new-path'") == [(1,)]


def test_a_service_that_starts_again_during_verification_is_not_repaired(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make()
    bench.run(5)
    assert bench.task("api").status == "verifying"
    bench.clock.tick(1)
    manager.set("api", "running")  # it crashed and was restarted: a new start time
    bench.run(2)
    ((state, outcome),) = bench.store.db.rows("SELECT state, outcome FROM attempts")
    assert (state, outcome) == ("undone", "it was started again during verification")


def test_a_pattern_that_worked_five_times_is_used_at_once(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    bench = make()
    text = []
    for number in range(8):
        new = moved(manager, tmp_path, f"svc{number}")
        text.append(f"# svc{number}\n\nThe svc{number} service lives in {new} now.\n")
    document(bench, tmp_path, "\n".join(text))
    broken = {name: manager.table.pop(name) for name in list(manager.table)}
    phases = []
    for name, service in broken.items():
        manager.table[name] = service
        bench.run(14)
        phases.append(bench.store.db.rows("SELECT phase FROM attempts WHERE target = ?", (name,))[-1][0])
    assert phases == [2, 2, 2, 2, 2, 1, 1, 1]


def test_a_demoted_pattern_is_no_longer_used_at_once(make: Make) -> None:
    bench = make()
    issue = Issue("path_invalid", "p", "api", "directory /a does not exist")
    for success in (True,) * 5 + (False,):
        learn(bench.store, 0, issue.signature, "use-new-path", success=success)
    assert known_recipes(bench.store.db, issue.signature) == ()


# Limits


def test_one_target_is_repaired_once_per_window(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make(fix_window=3600.0)
    bench.run(20)
    assert bench.task("api").resolution == "verified"
    manager.set("api", "failed")
    manager.logs["api"] = "another reason"
    bench.run(20)
    task = bench.task("api")
    assert (task.id, task.status) == (2, "escalated")
    assert "task 1 has changed api within 3600 s" in ledger.history(bench.store.db, 2)[-1].details
    assert manager.calls.count("start api") == 1
    operator.approve(bench.store, 2)
    bench.store.db.write(lambda tx: tx.execute("UPDATE attempts SET state = 'applied'"))
    bench.run(5, detect=False)
    assert bench.task("api").status == "diagnosing", "two tasks never change one service at the same time"
    bench.store.db.write(lambda tx: tx.execute("UPDATE attempts SET state = 'verified'"))
    bench.run(20)
    assert bench.task("api").resolution == "approved", "the window is for automatic repairs"
    assert manager.calls.count("start api") == 2


@pytest.mark.parametrize("target", [None, "api"])
def test_while_paused_nothing_is_applied(make: Make, manager: ScriptedManager, target: str | None) -> None:
    manager.add("api")
    bench = make()
    operator.pause(bench.store, target, on=True)
    bench.run(20)
    assert (manager.calls, bench.task("api").status) == ([], "diagnosing")
    operator.pause(bench.store, target, on=False)
    bench.run(20)
    assert bench.task("api").resolution == "verified"


def test_a_step_that_fails_is_recorded_and_tried_again(make: Make, manager: ScriptedManager) -> None:
    manager.add("api")
    bench = make()
    bench.work.detect()
    manager.broken = True
    bench.run(3, detect=False)
    manager.broken = False
    bench.run(30)
    assert "step failed" in bench.story("api")
    assert bench.task("api").resolution == "verified"


def test_a_step_that_hangs_does_not_stop_the_others(make: Make, manager: ScriptedManager) -> None:
    leave, entered = threading.Event(), threading.Event()

    def hang() -> str:
        entered.set()
        leave.wait(30)
        return "running"

    for name in ("stuck", "api"):
        manager.add(name)
    manager.on_start["stuck"] = hang
    bench = make(workers=1, step_limit=0.0)
    bench.work.detect()
    bench.clock.tick(4)
    bench.work.dispatch()
    while not entered.is_set():
        bench.clock.tick(0.5)
        bench.work.dispatch()
        entered.wait(0.01)
    for _ in range(200):
        bench.clock.tick(0.2)
        bench.work.dispatch()
        if bench.task("api").resolution == "verified":
            break
        threading.Event().wait(0.01)
    assert bench.task("api").resolution == "verified"
    assert "step overdue" in bench.story("stuck")
    leave.set()


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_loses_nothing(make: Make, manager: ScriptedManager, jump: float) -> None:
    manager.add("api")
    bench = make()
    bench.run(4)
    bench.clock.tick(jump)
    manager.table["api"] = manager.table["api"].__class__("api", "running", started=bench.clock.now - 1)
    bench.run(40)
    assert bench.task("api").status == "resolved"
    assert ledger.verify(bench.store.db)[1] == ()


# Restart


def test_what_was_being_applied_is_looked_at_first_after_a_crash(
    make: Make, manager: ScriptedManager, tmp_path: Path
) -> None:
    manager.add("api")
    bench = make()
    bench.run(1)
    task = bench.task("api")
    plan = Plan("restart", (Step("restart", {"service": "api"}),), "known pattern", 0.6, ("e",))
    with closing(sqlite3.connect(bench.store.db.path, timeout=5.0, isolation_level=None)) as conn:  # a crash
        conn.execute("UPDATE tasks SET status = 'diagnosing' WHERE id = ?", (task.id,))
        conn.execute("UPDATE tasks SET status = 'fixing', attempt = 1, lease_owner = 'dead' WHERE id = ?", (task.id,))
        conn.execute(
            "INSERT INTO attempts (task_id, target, attempt, phase, recipe, plan, state, started_at) "
            "VALUES (?, 'api', 1, 1, 'restart', ?, 'applying', 0)", (task.id, plan.to_json()),
        )  # fmt: skip
    manager.set("api", "running")
    manager.calls.clear()
    assert bench.work.progress.recover() == (task.id,)
    bench.run(8)
    assert (bench.task("api").resolution, manager.calls) == ("verified", [])


def test_a_second_orchestrator_on_one_state_is_refused(make: Make) -> None:
    from dbsafety_runtime.orchestrator.loop import AlreadyRunning

    make()
    with pytest.raises(AlreadyRunning, match=r"another orchestrator holds .*run\.lock"):
        make()


# Views for people


def test_explain_and_report_and_health(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    manager.add("api")
    manager.logs["api"] = "<script>alert('x')</script>"
    bench = make()
    assert examine(bench.store, bench.work.settings).line() == "down: it has never run on this state directory"
    bench.run(20)
    bench.work._sign_of_life()
    assert examine(bench.store, bench.work.settings).line() == "healthy: all is well"
    lines = operator.explain(bench.store, 1)
    assert lines[0].startswith("task 1: service_failure on api, seen ")
    assert "    restart(service=api)" in lines
    page = build(bench.store)
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 2
    operator.pause(bench.store, None, on=True)
    assert examine(bench.store, bench.work.settings).line() == "degraded: paused by the operator"
    for jump in (600, -1200):
        bench.clock.tick(jump)
        assert examine(bench.store, bench.work.settings).line() == "down: no sign of life for 600 s"


def test_figures_of_nothing() -> None:
    assert str(percentile([], 0.95)) == "nan"
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.95) == 95


def test_a_failing_detector_is_recorded_once_and_again_when_it_works(make: Make) -> None:
    class Sick:
        name = "sick"
        well = False

        def scan(self, cursor: str | None) -> Scan:
            if not self.well:
                raise ValueError("no journal")
            return Scan((), "c")

    sick = Sick()
    bench = make(detectors=[sick])
    bench.run(2)
    sick.well = True
    bench.run(1)
    entries = [(entry.actor, entry.action) for entry in ledger.history(bench.store.db, 0) if entry.actor == "sick"]
    assert entries == [("sick", "detector failed"), ("sick", "detector works")]
    assert json.loads(ledger.history(bench.store.db, 0)[-1].details) == {"why": None}
    assert bench.store.cursor("sick") == "c"


def test_gate_ranks_unknown_kinds_last() -> None:
    task = object.__new__(Task)
    object.__setattr__(task, "issue", Issue("odd", "x", "y", "z"))
    assert gate.rank(task) == 6
    assert set(shipped()) >= {"restart"}


def test_what_needs_more_rights_becomes_a_plan_for_the_operator(
    make: Make, manager: ScriptedManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbsafety_runtime.orchestrator.actions._writable", lambda _file: False)
    new = moved(manager, tmp_path)
    bench = make()
    document(bench, tmp_path, f"# api\n\nThe api service lives in {new} now.\n")
    bench.run(20)
    task = next(task for task in bench.store.tasks() if task.issue.type == "path_invalid")
    assert (task.status, manager.calls) == ("escalated", [])
    ((body,),) = bench.store.db.rows("SELECT body FROM outbox WHERE task_id = ?", (task.id,))
    assert "needs more rights than this process has" in body
    assert f"1. `write_dropin(service=api, setting=directory, value={new})`" in body


def test_an_orchestrator_is_put_together_from_its_settings(tmp_path: Path) -> None:
    from dbsafety_runtime.orchestrator.agents import SINGLE, EndpointAgent
    from dbsafety_runtime.orchestrator.assembly import agent_of, detectors_of, manager_of
    from dbsafety_runtime.orchestrator.config import OrchestratorSettings

    systemd, embedded = OrchestratorSettings(manager="systemd"), OrchestratorSettings()
    names = {
        settings.manager: [detector.name for detector in detectors_of(settings, manager_of(settings))]
        for settings in (systemd, embedded)
    }
    assert names == {
        "systemd": ["services", "ports", "paths", "stale", "journal"],
        "supervisord": ["services", "ports", "paths", "stale"],
    }
    assert agent_of(embedded) is SINGLE
    asked = agent_of(OrchestratorSettings(endpoint_url="http://127.0.0.1:9/v1", endpoint_model="m"))
    assert isinstance(asked, EndpointAgent)
    assert (asked.base_url, asked.model, asked.name) == ("http://127.0.0.1:9/v1", "m", "endpoint")


def test_what_a_service_says_only_later_still_counts(make: Make, manager: ScriptedManager, tmp_path: Path) -> None:
    data = tmp_path / "data" / "spool"
    manager.add("api", directory=str(tmp_path), command=f"/bin/sh --need {data}")
    manager.on_start["api"] = lambda: "running" if data.exists() else "failed"
    bench = make()
    bench.work.detect()
    manager.logs["api"] = f"FileNotFoundError: [Errno 2] No such file or directory: '{data}'"
    bench.run(20, detect=False)
    task = bench.task("api")
    assert (task.issue.message, task.resolution) == ("ended with status 1", "verified")
    assert task.plan is not None
    assert task.plan.recipe == "create-directory"
