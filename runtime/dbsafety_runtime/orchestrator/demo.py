"""The demonstration: a private supervisord with broken programs, watched, repaired, verified, escalated, audited."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dbsafety_runtime.orchestrator import ledger, operator, report
from dbsafety_runtime.orchestrator.assembly import orchestrator_of
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.figures import compute
from dbsafety_runtime.orchestrator.fleet import Fleet, build
from dbsafety_runtime.orchestrator.localhub import LocalHub
from dbsafety_runtime.orchestrator.loop import Orchestrator

CASES: Final[Mapping[str, Mapping[str, str]]] = {
    "website": {"kind": "healthy"},
    "billing": {"kind": "moved-directory", "known": "git document"},
    "mailer": {"kind": "moved-command", "known": "git"},
    "reports": {
        "kind": "port-stranger",
        "known": "document",
        "say": "Error: listen EADDRINUSE: address already in use",
    },
    "gateway": {"kind": "port-orphan"},
    "importer": {"kind": "lock-orphan"},
    "archive": {"kind": "missing-data", "known": "document"},
    "scheduler": {"kind": "late-dependency"},
    "search": {"kind": "flapping"},
    "exporter": {"kind": "never-existed"},
}
"""Program → what is wrong with it."""

REPAIRED: Final = frozenset({"billing", "mailer", "reports", "gateway", "importer", "archive", "scheduler"})
ESCALATED: Final = frozenset({"search", "exporter"})
LIMIT_SECONDS: Final = 120.0

Say = Callable[[str], None]


def settings_for(fleet: Fleet, hub: LocalHub, state: Path | None = None) -> OrchestratorSettings:
    """Return settings for a private fleet: everything as by default, only the waits are shorter."""
    return OrchestratorSettings(
        state=state or fleet.root / "state", socket=fleet.socket, programs=fleet.conf,
        documents=(str(fleet.code / "CLAUDE.md"),), repositories=(str(fleet.code),), github_url=hub.url,
        github_repo="demo/demo", interval=0.5, grace=1.0, patience=5.0, settle=3.0,
    )  # fmt: skip


def targets(work: Orchestrator, *resolutions: str, escalated: bool = False) -> set[str]:
    """Return the services with a task that ended in one of these ways, or that was escalated and sent."""
    return {
        task.issue.target
        for task in work.store.tasks()
        if task.resolution in resolutions or (escalated and task.github_ref is not None)
    }


def run(out: Path, say: Say) -> int:
    """Run the demonstration and write the report to `out`; 0 when everything went as it should."""
    fleet = Fleet()
    for name, case in CASES.items():
        build(fleet, name, case)
    fleet.save("Document the services")
    with LocalHub() as hub, fleet:
        say(f"{len(CASES)} programs under a private supervisord, a local GitHub-compatible server at {hub.url}")
        work = orchestrator_of(settings_for(fleet, hub), fleet.manager)
        try:
            work.refresh_knowledge()
            seconds = _until_done(work, say)
            return _conclude(work, hub, out, seconds, say)
        finally:
            work.close()


def _until_done(work: Orchestrator, say: Say) -> float:
    started, told = time.monotonic(), 0
    while time.monotonic() - started < LIMIT_SECONDS:
        work.cycle()
        entries = work.store.db.rows(
            "SELECT h.id, t.target, h.actor, h.action, h.details FROM task_history h JOIN tasks t ON t.id = h.task_id "
            "WHERE h.id > ? AND h.action NOT IN ('verifying', 'diagnosing', 'fixing') ORDER BY h.id", (told,),
        )  # fmt: skip
        for number, target, actor, action, details in entries:
            told = number
            say(f"{time.monotonic() - started:6.1f} s  {target:10} {actor}: {action}  {details[:110]}")
        if targets(work, "verified") >= REPAIRED and targets(work, escalated=True) >= ESCALATED:
            break
    return time.monotonic() - started


def _conclude(work: Orchestrator, hub: LocalHub, out: Path, seconds: float, say: Say) -> int:
    say("")
    first = next((task for task in work.store.tasks() if task.resolution == "verified"), None)
    for line in operator.explain(work.store, first.id) if first else []:
        say(line[:160])
    say("")
    for issue in hub.issues:
        say(f"issue {issue['number']}: {issue['title']}")
    say("")
    for name, value in report.summary(compute(work.store.db)):
        say(f"{name:26} {value}")
    count, problems = ledger.verify(work.store.db)
    say(f"{'audit trail':26} {count} rows, {'complete' if not problems else '; '.join(problems)}")
    out.write_text(report.build(work.store), encoding="utf-8")
    say(f"{'report':26} {out}")
    repaired, escalated = targets(work, "verified"), targets(work, escalated=True)
    wrong = (REPAIRED - repaired) | (ESCALATED - escalated)
    if wrong:
        say(f"not as expected: {', '.join(sorted(wrong))}")
    say(f"{len(repaired)} repaired, {len(escalated)} escalated, website untouched, in {seconds:.0f} s")
    return 1 if wrong or problems or "website" in repaired | escalated else 0
