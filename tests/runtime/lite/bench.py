"""An orchestrator on a scripted manager, driven step by step under a frozen clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dbsafety_runtime.orchestrator.agents import SINGLE, Agent
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Check, Detector
from dbsafety_runtime.orchestrator.detectors.paths import all_path_issues
from dbsafety_runtime.orchestrator.detectors.services import ServiceDetector
from dbsafety_runtime.orchestrator.ledger import history
from dbsafety_runtime.orchestrator.loop import Orchestrator
from dbsafety_runtime.orchestrator.model import Task
from tests.runtime.lite.doubles import ScriptedManager

# The memory limit is for a process of its own; this one holds the whole test suite.
DEFAULTS = OrchestratorSettings(grace=3.0, patience=10.0, settle=5.0, interval=1.0, memory_limit_mb=100_000)


class Bench:
    """`run` lets frozen time pass; between two ticks everything that is due is done."""

    def __init__(
        self, tmp_path: Path, manager: ScriptedManager, *, detectors: Sequence[Detector] | None = None,
        single: Agent = SINGLE, **settings: object,
    ) -> None:  # fmt: skip
        self.manager, self.clock = manager, manager.clock
        chosen = replace(DEFAULTS, state=tmp_path / "state", **settings)
        if detectors is None:
            detectors = [ServiceDetector(manager, self.clock), Check("paths", partial(all_path_issues, manager))]
        self.work = Orchestrator(chosen, manager, detectors, clock=self.clock, single=single)
        self.store = self.work.store

    def settle(self) -> None:
        while self.work.dispatch():
            for item in list(self.work._running.values()):
                item.future.exception(30)

    def run(self, seconds: float, *, detect: bool = True) -> None:
        for _ in range(int(seconds * 2)):
            if detect:
                self.work.detect()
            self.settle()
            self.clock.tick(0.5)

    def task(self, target: str) -> Task:
        return [task for task in self.store.tasks() if task.issue.target == target][-1]

    def story(self, target: str) -> list[str]:
        return [entry.action for entry in history(self.store.db, self.task(target).id)]

    def close(self) -> None:
        assert self.work.close()
