from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dbsafety_runtime.orchestrator import actions, catalogue
from dbsafety_runtime.orchestrator.actions import ACTIONS, CODE, ActionRefused
from dbsafety_runtime.orchestrator.model import Issue, Plan, Step
from tests.runtime.lite.doubles import FrozenClock, ScriptedManager


@pytest.fixture
def manager(tmp_path: Path, clock: FrozenClock) -> ScriptedManager:
    made = ScriptedManager(tmp_path, clock)
    made.add("api")
    return made


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)
    assert started.stdout is not None
    started.stdout.readline()
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


def plan(*steps: Step) -> Plan:
    return Plan("test", steps, "test", 1.0, ("e",))


def step(action: str, **args: str) -> Step:
    return Step(action, {"service": "api", **args})


def test_every_action_has_a_radius_and_what_can_be_undone_says_how() -> None:
    assert set(ACTIONS) == set(CODE)
    assert all(action["radius"] for action in ACTIONS.values())
    assert {name for name, action in ACTIONS.items() if not action["reversible"]} == {"stop_orphan", "enqueue_task"}
    assert {name for name, code in CODE.items() if code.undo} == {
        "write_dropin", "remove_dropin", "create_directory",
    }  # fmt: skip


def test_a_dry_run_changes_nothing_and_names_every_objection(manager: ScriptedManager, tmp_path: Path) -> None:
    up = f"{tmp_path}/../../x"
    bad = plan(
        step("write_dropin", setting="group", value="/bin/sh"),
        step("write_dropin", setting="directory", value="/nowhere/at/all"),
        Step("shell", {"command": "rm -rf /"}),
        Step("restart", {"service": "api", "extra": "x"}),
        Step("restart", {"service": "other"}),
        step("create_directory", path="/etc/evil"),
        step("create_directory", path="relative/x"),
        step("create_directory", path=up),
        step("create_directory", path=str(tmp_path)),
        step("remove_dropin"),
        step("stop_orphan", pid="not a number", started="0"),
    )
    before = sorted(tmp_path.rglob("*"))
    assert actions.problems(manager, bad) == [
        "write_dropin(service=api, setting=group, value=/bin/sh): group is not a setting that may be changed",
        "write_dropin(service=api, setting=directory, value=/nowhere/at/all): /nowhere/at/all does not exist",
        "shell is no action with these arguments",
        "restart is no action with these arguments",
        "restart(service=other): there is no service other",
        "create_directory(service=api, path=/etc/evil): /etc/evil is not a place where directories may be created",
        "create_directory(service=api, path=relative/x): relative/x is not a place where directories may be created",
        f"create_directory(service=api, path={up}): {up} is not a place where directories may be created",
        f"create_directory(service=api, path={tmp_path}): {tmp_path} exists",
        f"remove_dropin(service=api): there is no {tmp_path}/api.override",
        "stop_orphan(service=api, pid=not a number, started=0): invalid literal for int() with base 10: 'not a number'",
    ]
    assert sorted(tmp_path.rglob("*")) == before
    assert manager.calls == []


@pytest.mark.parametrize("before", [None, "command=/bin/ls"])
def test_an_override_is_written_and_restored_byte_for_byte(manager: ScriptedManager, before: str | None) -> None:
    file = manager.override_file("api")
    if before is not None:
        file.write_text(before, encoding="utf-8")
    change = plan(step("write_dropin", setting="command", value="/bin/true"), step("daemon_reload"), step("restart"))
    kept = actions.tokens(manager, change)
    actions.apply(manager, change)
    assert file.read_text(encoding="utf-8") == "command=/bin/true"
    assert manager.configs["api"].command == "/bin/true"
    assert manager.table["api"].state == "running"
    assert actions.undo(manager, change, kept) == []
    assert (file.read_text(encoding="utf-8") if file.exists() else None) == before
    assert actions.undo(manager, change, kept) == [], "undoing twice does no harm"


def test_created_directories_are_removed_again_unless_somebody_uses_them(
    manager: ScriptedManager, tmp_path: Path
) -> None:
    change = plan(step("create_directory", path=f"{tmp_path}/a/b/c"))
    kept = actions.tokens(manager, change)
    actions.apply(manager, change)
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "a/keep").touch()
    assert actions.undo(manager, change, kept) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["keep"]


def test_a_step_that_fails_ends_the_plan(manager: ScriptedManager) -> None:
    change = plan(step("restart"), step("remove_dropin"), step("start"))
    with pytest.raises(ActionRefused, match=r"^remove_dropin\(service=api\): there is no"):
        actions.apply(manager, change)
    assert manager.calls == ["stop api", "start api"]
    manager.broken = True
    with pytest.raises(ActionRefused, match="the manager does not answer"):
        actions.apply(manager, plan(step("daemon_reload")))


def orphan(process: subprocess.Popen[bytes]) -> Step:
    return step("stop_orphan", pid=str(process.pid), started=repr(psutil.Process(process.pid).create_time()))


def test_only_a_proven_orphan_is_stopped(manager: ScriptedManager, process: subprocess.Popen[bytes]) -> None:
    stop = orphan(process)
    assert actions.problems(manager, plan(stop)) == [f"{stop.text()}: process {process.pid} was not started for api"]
    manager.owners[process.pid] = "api"
    assert actions.problems(manager, plan(stop)) == []
    other_start = replace(stop, args={**stop.args, "started": "1000000000.0"})
    assert "has ended" in actions.problems(manager, plan(other_start))[0]
    manager.table["api"] = replace(manager.table["api"], pid=process.pid)
    assert "belongs to a running service" in actions.problems(manager, plan(stop))[0]
    manager.table["api"] = replace(manager.table["api"], pid=0)
    actions.apply(manager, plan(stop))
    assert not psutil.pid_exists(process.pid)
    with pytest.raises(ActionRefused, match="has ended"):
        actions.apply(manager, plan(stop))


# Recipes are data


def test_the_shipped_recipes_are_well_formed() -> None:
    recipes = catalogue.shipped()
    assert set(recipes) == {
        "stop-orphan", "drop-own-override", "use-new-path", "use-documented-port", "create-directory", "restart",
    }  # fmt: skip
    assert {name for name, recipe in recipes.items() if recipe.shipped} == {
        "stop-orphan",
        "drop-own-override",
        "restart",
    }


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ({"action": "shell", "service": "{target}"}, "shell is no action with these arguments"),
        ({"action": "restart"}, "restart is no action with these arguments"),
        ({"action": "restart", "service": "{somebody}"}, "does not say that it needs somebody"),
    ],
)
def test_malformed_recipes_are_refused(steps: dict[str, str], problem: str) -> None:
    entry = {"id": "r", "title": "t", "types": ["x"], "needs": [], "shipped": False, "steps": [steps]}
    with pytest.raises(catalogue.RecipeError, match=problem):
        catalogue.load([entry])


def test_a_recipe_is_filled_only_with_all_it_needs() -> None:
    recipe = catalogue.shipped()["use-new-path"]
    issue = Issue("path_invalid", "t", "api", "m")
    facts = {"setting": "directory", "new_value": "/srv/new"}

    def filled(issue: Issue, facts: dict[str, str]) -> Plan | None:
        return catalogue.fill(recipe, issue, facts, by="t", confidence=0.5, evidence=("e",))

    made = filled(issue, facts)
    assert made is not None
    assert made.steps[0] == Step("write_dropin", {"service": "api", "setting": "directory", "value": "/srv/new"})
    assert filled(issue, {"setting": "directory"}) is None
    assert filled(issue, {**facts, "new_value": "/srv/new\n[Service]\nExecStart=/evil"}) is None
    assert filled(Issue("port_conflict", "t", "api", "m"), facts) is None


# Reporting upward


def test_a_task_is_handed_to_the_executor_by_its_command_line(
    manager: ScriptedManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = tmp_path / "python"
    recorder.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" > "$0.args"\ncase "$*" in *refuse*) echo no >&2; exit 2;; esac\n'
    )
    recorder.chmod(0o755)
    monkeypatch.setattr("dbsafety_runtime.orchestrator.actions.sys.executable", str(recorder))
    args = {"kind": "fix-elsewhere", "payload": '{"host": "b c"}', "key": "task-1"}
    actions.apply(manager, plan(Step("enqueue_task", args)))
    assert (tmp_path / "python.args").read_text(encoding="utf-8").splitlines() == [
        "-m", "dbsafety_runtime", "executor", "enqueue", "fix-elsewhere",
        "--payload", '{"host": "b c"}', "--dedupe", "task-1",
    ]  # fmt: skip
    with pytest.raises(ActionRefused, match=r"^enqueue_task\(.*\): python ended with 2: no$"):
        actions.apply(manager, plan(Step("enqueue_task", {**args, "kind": "refuse"})))
