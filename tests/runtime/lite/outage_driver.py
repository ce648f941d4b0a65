"""Runs an orchestrator through a disturbance in the middle of its work and reports what is left, as one JSON line.

Run as a program: `outage_driver.py disk|lock|forward|back`; limits on the size of files are those of a whole process.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from crash_driver import ENTRIES, SETTINGS, FileManager, Journal, examine

from dbsafety_runtime.orchestrator.detectors.services import ServiceDetector
from dbsafety_runtime.orchestrator.loop import Orchestrator
from dbsafety_runtime.storage import lite
from dbsafety_runtime.storage.errors import StorageFault

TIMES = 5


class Disturbed(Orchestrator):
    """Counts its cycles and what made them fail."""

    failed: list[str]
    cycles = 0

    def cycle(self) -> None:
        self.cycles += 1
        try:
            super().cycle()
        except StorageFault as fault:
            self.failed.append(fault.fault.value)
            raise


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)


@contextmanager
def full_disk(work: Disturbed) -> Iterator[None]:
    """No file may grow beyond one kilobyte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    yield
    until(lambda: len(work.failed) >= TIMES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def locked(work: Disturbed) -> Iterator[None]:
    """Another program holds the write lock for longer than anybody is willing to wait."""
    with closing(sqlite3.connect(work.store.db.path, timeout=5.0, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        until(lambda: len(work.failed) >= TIMES)
        conn.execute("ROLLBACK")


def jump(seconds: float, offset: list[float]) -> Callable[[Disturbed], AbstractContextManager[None]]:
    @contextmanager
    def jumping(work: Disturbed) -> Iterator[None]:
        yield
        until(lambda: work.cycles >= 2)
        offset[0] = seconds

    return jumping


def main(mode: str) -> None:
    """Start under the disturbance, let it end, wait until everything is decided."""
    lite.BUSY_SECONDS = 0.01
    offset = [0.0]
    ways = {"disk": full_disk, "lock": locked, "forward": jump(86_400, offset), "back": jump(-86_400, offset)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manager = FileManager(folder)
        work = Disturbed(
            replace(SETTINGS, state=folder / "state"), manager, [Journal(), ServiceDetector(manager)],
            clock=lambda: time.time() + offset[0],
        )  # fmt: skip
        work.failed, work.store.db._patience = [], 0.05 if mode == "lock" else 1.0
        thread = threading.Thread(target=work.run)
        with ways[mode](work):
            thread.start()

        def decided() -> bool:
            tasks = work.store.tasks()
            seen = sum(task.occurrences for task in tasks if task.issue.type == "note")
            states = {task.issue.target: task.status for task in tasks if task.issue.type != "note"}
            return states == {"good": "resolved", "bad": "escalated"} and seen >= ENTRIES

        until(decided)
        work.stop.set()
        thread.join()
        found = {"point": mode, "exits": [0, 0], "failed": work.failed, **examine(folder)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
