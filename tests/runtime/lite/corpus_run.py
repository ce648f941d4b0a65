"""Runs the corpus: broken programs under a real supervisord, twice, and benign events under a frozen clock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dbsafety_runtime.orchestrator.assembly import orchestrator_of
from dbsafety_runtime.orchestrator.demo import settings_for
from dbsafety_runtime.orchestrator.detectors.base import Check
from dbsafety_runtime.orchestrator.detectors.paths import all_path_issues
from dbsafety_runtime.orchestrator.detectors.services import ServiceDetector, port_conflicts
from dbsafety_runtime.orchestrator.fleet import Fleet
from dbsafety_runtime.orchestrator.localhub import LocalHub
from dbsafety_runtime.orchestrator.report import Figures, compute, percentile
from tests.runtime.lite.bench import Bench
from tests.runtime.lite.doubles import FrozenClock, ScriptedManager

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("corpus")
WAVE, WAVE_SECONDS = 15, 60.0

Say = Callable[[str], None]


def bug(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    """A program that always ends with an error of its own."""
    said = {"say": case["say"]} if "say" in case else {}
    fleet.program(name, fleet.command(fail=case.get("fail", "7"), **said))


def unrunnable(fleet: Fleet, name: str, case: Mapping[str, str]) -> None:
    """A file that is there and cannot be run."""
    program = fleet.root / "bin" / name
    program.parent.mkdir(exist_ok=True)
    first = "#!/nowhere/python" if case["kind"] == "no-interpreter" else "#!/bin/sh"
    program.write_text(f"{first}\nexec sleep 3600\n", encoding="utf-8")
    program.chmod(0o644 if case["kind"] == "not-executable" else 0o755)
    fleet.program(name, str(program))


OWN = {"bug": bug, "not-executable": unrunnable, "no-interpreter": unrunnable}
"""Kinds of broken programs that only the corpus has."""


def entries(name: str) -> list[dict[str, Any]]:
    """Return the tables of a corpus file."""
    (found,) = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")).values()
    return list(found)


@dataclass(frozen=True)
class Pass:
    """One pass over the programs: the figures, what became of each program, and the sum of the phases needed."""

    figures: Figures
    outcome: Mapping[str, str]
    phases: int


def wave(programs: Sequence[Mapping[str, str]], suffix: str, state: Path) -> dict[str, str]:
    """Start some programs, let the orchestrator work until all are decided; return what became of each."""
    fleet = Fleet()
    for program in programs:
        name = f"{program['name']}{suffix}"
        if program["kind"] in OWN:
            OWN[program["kind"]](fleet, name, program)
        else:
            fleet.build(name, program)
    fleet.save("All services")
    with LocalHub() as hub, fleet:
        # The memory limit is for a process of its own; this one may hold a whole test suite.
        work = orchestrator_of(replace(settings_for(fleet, hub, state), memory_limit_mb=100_000), fleet.manager)
        try:
            work.refresh_knowledge()
            limit, outcome = time.monotonic() + WAVE_SECONDS, dict[str, str]()
            while time.monotonic() < limit and len(outcome) < len(programs):
                work.cycle()
                names = {f"{program['name']}{suffix}" for program in programs}
                for task in work.store.tasks():
                    if task.issue.target in names and task.resolution == "verified":
                        outcome[task.issue.target] = "fixed"
                    elif task.issue.target in names and task.status == "escalated":
                        outcome.setdefault(task.issue.target, "escalated")
                    elif task.issue.target in names and task.resolution == "recovered":
                        outcome.setdefault(task.issue.target, "recovered")
            for task in work.store.tasks("escalated", "suppressed", "detected", "diagnosing"):
                work.store.close_task(task.id, "closed", "the wave is over", "corpus")
            return outcome
        finally:
            work.close()


def run_pass(programs: Sequence[Mapping[str, str]], suffix: str, state: Path, since: int, say: Say) -> Pass:
    """Go through all programs in waves of fifteen on one state directory."""
    outcome: dict[str, str] = {}
    for start in range(0, len(programs), WAVE):
        outcome |= wave(programs[start : start + WAVE], suffix, state)
        say(f"  {len(outcome)} of {len(programs)} decided")
    work_figures = _figures(state, since)
    return Pass(work_figures, outcome, sum(work_figures.phases))


def _figures(state: Path, since: int) -> Figures:
    from dbsafety_runtime.orchestrator.store import IncidentStore

    store = IncidentStore.init_database(state / "tasks.db")
    try:
        return compute(store.db, since)
    finally:
        store.close_store()


def highest(state: Path) -> int:
    """Return the highest task number so far."""
    from dbsafety_runtime.orchestrator.store import IncidentStore

    store = IncidentStore.init_database(state / "tasks.db")
    try:
        return int(store.db.rows("SELECT coalesce(max(id), 0) FROM tasks")[0][0])
    finally:
        store.close_store()


def programs(say: Say = print) -> tuple[Pass, Pass]:
    """Run the whole corpus twice on one state directory and print the figures."""
    found = entries("programs")
    with tempfile.TemporaryDirectory(prefix="dbsafety-corpus-") as name:
        state = Path(name) / "state"
        first = run_pass(found, "", state, 0, say)
        second = run_pass(found, "-b", state, highest(state), say)
    for title, result in (("first pass", first), ("second pass", second)):
        say(f"{title}: {len(found)} broken programs")
        say(line(result, found))
        names = {name.removesuffix("-b"): state for name, state in result.outcome.items()}
        odd = [
            f"{item['name']} {names.get(item['name'])}" for item in found if names.get(item["name"]) != item["expect"]
        ]
        say(f"  not as the corpus says: {', '.join(odd) or 'none'}")
    return first, second


def line(result: Pass, found: Sequence[Mapping[str, str]]) -> str:
    """Return the figures of a pass as text."""
    fixed = sum(state == "fixed" for state in result.outcome.values())
    known = result.figures.known_seconds
    return (
        f"  verified repairs {fixed} of {len(found)} = {fixed / len(found):.0%}, "
        f"per issue {result.figures.fix_rate:.0%}; "
        f"phases needed {result.phases}; MTTR p50 {percentile(result.figures.repair_seconds, 0.5):.1f} s, "
        f"p95 {percentile(result.figures.repair_seconds, 0.95):.1f} s; known patterns ({len(known)}) "
        f"p95 {percentile(known, 0.95):.1f} s"
    )


def events(say: Say = print) -> tuple[int, int]:
    """Play the benign events; return false escalations of ours and of escalating every first failure."""
    found = entries("events")
    with tempfile.TemporaryDirectory(prefix="dbsafety-events-") as name:
        folder = Path(name)
        clock = FrozenClock()
        manager = ScriptedManager(folder, clock)
        for event in found:
            directory = folder / event["service"]
            directory.mkdir()
            manager.add(event["service"], "running", directory=str(directory), command="/bin/sh")
        bench = Bench(
            folder, manager, interval=1.0,
            detectors=[
                ServiceDetector(manager, clock), Check("ports", partial(port_conflicts, manager)),
                Check("paths", partial(all_path_issues, manager)),
            ],
        )  # fmt: skip
        start = clock.now
        last = max(event["at"] + 4 * event["down"] for event in found) + 60
        while clock.now - start < last:
            for event in found:
                play(manager, folder, event, clock.now - start)
            bench.run(1.0)
        figures = compute(bench.store.db)
        seen = len(bench.store.tasks())
        bench.close()
    ours, baseline = figures.escalated, seen
    say(
        f"{len(found)} benign events, {seen} issues seen: escalating every first failure gives {baseline} "
        f"false escalations; ours: {ours}; reduction {1 - ours / baseline:.0%}"
    )
    return ours, baseline


def play(manager: ScriptedManager, folder: Path, event: Mapping[str, Any], now: float) -> None:
    """Put a service into the state its event asks for at this second."""
    name, kind, at, down = event["service"], event["kind"], event["at"], event["down"]
    away = at <= now < at + down or (kind == "twice" and at + 3 * down <= now < at + 4 * down)
    if kind == "noise":
        manager.logs[name] = "OSError: [Errno 98] Address already in use, trying the next port" if now >= at else ""
        return
    if kind == "deploy":
        place, aside = folder / name, folder / f"{name}.aside"
        if away and place.exists():
            place.rename(aside)
        elif not away and aside.exists():
            aside.rename(place)
        return
    wanted = (
        {"restart": "starting", "backoff": "starting", "slow": "starting"}.get(kind, "failed") if away else "running"
    )
    if manager.table[name].state != wanted and not (away and manager.table[name].started > manager.clock.now - 1):
        manager.set(name, wanted)
