"""The demonstration: a private supervisord with broken programs, watched, repaired, verified, escalated, audited."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator import ledger, operator, report
from dbsafety_runtime.orchestrator.assembly import orchestrator_of
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.fleet import Fleet
from dbsafety_runtime.orchestrator.localhub import LocalHub
from dbsafety_runtime.orchestrator.loop import Orchestrator
from dbsafety_runtime.orchestrator.pages import page, table

CASES: Final = table("fleet.toml")["demo"]
EXPECTED: Final = {name: case["expect"] for name, case in CASES.items() if case["expect"] != "untouched"}
LIMIT_SECONDS: Final = 120.0
BETWEEN: Final = ("verifying", "diagnosing", "fixing")  # said by what comes before or after

Say = Callable[[str], None]


def settings_for(fleet: Fleet, hub: LocalHub, state: Path | None = None) -> OrchestratorSettings:
    """Return settings for a private fleet: everything as by default, only the waits are shorter."""
    return OrchestratorSettings(
        state=state or fleet.root / "state", socket=fleet.socket, programs=fleet.conf,
        documents=(str(fleet.code / "CLAUDE.md"),), repositories=(str(fleet.code),), github_url=hub.url,
        github_repo="demo/demo", interval=0.5, grace=1.0, patience=5.0, settle=3.0,
    )  # fmt: skip


def outcome(work: Orchestrator) -> dict[str, str]:
    """Return what became of each service with a task that was repaired, or that was escalated and sent."""
    tasks = work.store.tasks()
    sent = {task.issue.target: "escalated" for task in tasks if task.github_ref is not None}
    return sent | {task.issue.target: "repaired" for task in tasks if task.resolution == "verified"}


def run(out: Path, say: Say) -> int:
    """Run the demonstration and write the report to `out`; 0 when everything went as it should."""
    fleet = Fleet()
    for name, case in CASES.items():
        fleet.build(name, case)
    fleet.save("Document the services")
    with LocalHub() as hub, fleet:
        say(f"{len(CASES)} programs under a private supervisord, a local GitHub-compatible server at {hub.url}")
        with closing(orchestrator_of(settings_for(fleet, hub), fleet.manager)) as work:
            work.refresh_knowledge()
            return _conclude(work, hub, out, _until_done(work, say), say)


def _until_done(work: Orchestrator, say: Say) -> float:
    started, told = time.monotonic(), 0
    while time.monotonic() - started < LIMIT_SECONDS:
        work.cycle()
        for entry, target in ledger.news(work.store.db, told):
            told = entry.id
            if entry.action not in BETWEEN:
                say(
                    f"{time.monotonic() - started:6.1f} s  {target:10} {entry.actor}: {entry.action}: {entry.told}"[
                        :150
                    ]
                )
        if outcome(work) == EXPECTED:
            break
    return time.monotonic() - started


def _conclude(work: Orchestrator, hub: LocalHub, out: Path, seconds: float, say: Say) -> int:
    out.write_text(report.build(work.store), encoding="utf-8")
    first = next((task.id for task in work.store.tasks() if task.resolution == "verified"), None)
    count, problems = ledger.verify(work.store.db)
    ended = outcome(work)
    wrong = {name for name, _ in ended.items() ^ EXPECTED.items()}
    story, summary = operator.explain(work.store, first) if first else [], report.summary(report.compute(work.store.db))
    say(page("demo.txt", story=story, issues=hub.issues, summary=summary, count=count, problems=problems, out=out,
             ended=Counter(ended.values()), wrong=wrong, seconds=seconds))  # fmt: skip
    return 1 if wrong or problems else 0
