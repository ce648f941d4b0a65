"""Kills an orchestrator at a chosen statement, lets a successor finish, and reports what is left; one JSON line each.

Run as a program: it has no threads of its own, so its children can be forked.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dbsafety_runtime.ops.faults import PLAN
from dbsafety_runtime.orchestrator import ledger
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.detectors.services import ServiceDetector
from dbsafety_runtime.orchestrator.loop import Orchestrator
from dbsafety_runtime.orchestrator.model import Issue, Service, ServiceConfig
from dbsafety_runtime.orchestrator.store import IncidentStore

SETTINGS = OrchestratorSettings(interval=0.02, grace=0.0, patience=0.05, settle=0.05, workers=2, verify_limit=0.5)
ENTRIES = 7


class FileManager:
    """Two services in files: `good` runs once started, `bad` never does. Every start is one line in `starts`."""

    name = "files"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def services(self) -> tuple[Service, ...]:
        found = []
        for name in ("good", "bad"):
            file = self.folder / f"{name}.run"
            started = file.stat().st_mtime if file.exists() else 0.0
            found.append(Service(name, "running" if started else "failed", started=started, exit_status=1))
        return tuple(found)

    def config(self, service: str) -> ServiceConfig:
        return ServiceConfig(service, str(self.folder / service), "/bin/sh")

    def log_tail(self, service: str) -> str:
        return f"{service} broke"

    def start(self, service: str) -> None:
        with (self.folder / "starts").open("a", encoding="utf-8") as file:
            file.write(f"{service}\n")
        if service == "good":
            (self.folder / "good.run").touch()

    def stop(self, service: str) -> None:
        (self.folder / f"{service}.run").unlink(missing_ok=True)

    def reset(self, service: str) -> None:
        pass

    def reload(self) -> None:
        pass

    def override_file(self, service: str) -> Path:
        return self.folder / f"{service}.override"

    def override_text(self, service: str, settings: Mapping[str, str]) -> str:
        return f"{service} {settings}"

    def owner(self, pid: int) -> str | None:
        return None


class Journal:
    """Seven entries, three per look, each an occurrence of one issue."""

    name = "journal"

    def scan(self, cursor: str | None) -> Scan:
        position = int(cursor or 0)
        new = range(position, min(position + 3, ENTRIES))
        return Scan(tuple(Issue("note", self.name, "log", "an entry") for _ in new), str(position + len(new)))


def live(folder: Path, kill_at: str | None) -> None:
    """Run until everything is decided; SIGKILL at the planned point."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if kill_at:
        PLAN.parse(kill_at)
    manager = FileManager(folder)
    work = Orchestrator(replace(SETTINGS, state=folder / "state"), manager, [Journal(), ServiceDetector(manager)])
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        work.cycle()
        decided = {t.issue.target: t.status for t in work.store.tasks() if t.issue.type != "note"}
        seen = sum(t.occurrences for t in work.store.tasks() if t.issue.type == "note")
        if decided == {"good": "resolved", "bad": "escalated"} and seen >= ENTRIES:
            break
    work.close()
    os._exit(0)


def child(folder: Path, kill_at: str | None) -> int:
    """Fork, live, return the exit status (negative: the signal)."""
    pid = os.fork()
    if pid == 0:
        try:
            live(folder, kill_at)
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def examine(folder: Path) -> dict[str, object]:
    """Return what a crash and a successor have left behind."""
    store = IncidentStore.init_database(folder / "state" / "tasks.db")
    starts = (folder / "starts").read_text(encoding="utf-8").split()
    attempts = store.db.rows("SELECT target, count(*) FROM attempts GROUP BY target")
    running = store.db.rows("SELECT count(*) FROM attempts WHERE state IN ('applying', 'undoing')")
    found: dict[str, object] = {
        "status": {task.issue.target: task.status for task in store.tasks() if task.issue.type != "note"},
        "entries": sum(task.occurrences for task in store.tasks() if task.issue.type == "note"),
        "starts": {name: starts.count(name) for name in ("good", "bad")},
        "attempts": dict(attempts),
        "unfinished": running[0][0],
        "doubled": store.db.rows("SELECT count(*) - count(DISTINCT task_id) FROM outbox WHERE kind = 'create'")[0][0],
        "leased": store.db.rows("SELECT count(*) FROM tasks WHERE lease_owner IS NOT NULL AND ended_at IS NOT NULL")[0][
            0
        ],
        "audit": ledger.verify(store.db)[1],
    }
    store.close_store()
    return found


def main(points: list[str]) -> None:
    """Go through the points, one fresh folder each."""
    for point in points:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = child(folder, point)
            second = child(folder, None) if first == -signal.SIGKILL else 0
            pid = os.fork()
            if pid == 0:
                os.write(1, (json.dumps({"point": point, "exits": [first, second], **examine(folder)}) + "\n").encode())
                os._exit(0)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
