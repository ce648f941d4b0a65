"""The cycle: detectors, gate and phases in four workers, verification, learning, outbox; never two cycles at once."""

from __future__ import annotations

import fcntl
import gc
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from dbsafety_runtime.ops import notify
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.ops.log import get
from dbsafety_runtime.orchestrator import catalogue, gauges, ledger
from dbsafety_runtime.orchestrator.agents import SINGLE, Agent
from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.detectors.base import Detector, Look, Watch, launch
from dbsafety_runtime.orchestrator.escalate import GitHub, Outbox
from dbsafety_runtime.orchestrator.knowledge import Knowledge, sources
from dbsafety_runtime.orchestrator.model import Clock, Manager, Task
from dbsafety_runtime.orchestrator.phases import Treatment
from dbsafety_runtime.orchestrator.progress import Progress
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.errors import StorageFault

REFRESH_SECONDS: Final = 60.0
LONGEST_WAIT: Final = 120.0
TICK: Final = 0.1
DROP_CACHES, REFUSE_WORK = 0.70, 0.85


class AlreadyRunning(Exception):
    """Another orchestrator works on this state directory."""


@contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Hold a state directory as its one orchestrator; raises AlreadyRunning."""
    with os.fdopen(os.open(state / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another orchestrator holds {state}/run.lock") from None
        yield


@dataclass(slots=True)
class _Running:
    task: Task
    worker: int
    future: Future[None]
    limit: float
    overdue: bool = False


class Orchestrator:
    """One per state directory; `detectors` and `clock` are replaced in tests."""

    def __init__(
        self, settings: OrchestratorSettings, manager: Manager, detectors: Sequence[Detector], *,
        clock: Clock = time.time, single: Agent = SINGLE,
    ) -> None:  # fmt: skip
        self.settings, self.manager, self.clock = settings, manager, clock
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held = ExitStack()
        self._held.enter_context(state_lock(settings.state))
        self.store = IncidentStore.init_database(settings.database, clock)
        self.knowledge = Knowledge(settings.state / "knowledge.db")
        self.progress = Progress(self.store, uuid.uuid4().hex)
        self.treatment = Treatment(
            self.store, self.progress, manager, self.knowledge, catalogue.shipped(), settings, single
        )
        github = GitHub(settings.github_url, settings.github_repo, settings.github_token)
        self.outbox = Outbox(self.store, github if settings.github_url else None, self._instance())
        self.stop = threading.Event()
        self._watch = Watch(detectors, settings.detector_limit)
        self._running: dict[int, _Running] = {}
        self._chore: dict[str, Future[int]] = {}
        self._problems: dict[str, str | None] = {}
        self._failures: dict[int, int] = {}
        self._refreshed = -REFRESH_SECONDS
        self._log = get("orchestrator")
        ((self._told,),) = self.store.db.rows("SELECT coalesce(max(id), 0) FROM task_history")
        recovered = self.progress.recover()
        self._log.info("started", recovered=len(recovered), owner=self.progress.owner)

    def _instance(self) -> str:
        """A name for this state directory, so that two hosts never take each other's issues for their own."""
        if self.store.control("instance") is None:
            self.store.set_control("instance", uuid.uuid4().hex)
        return (self.store.control("instance") or ("", 0.0))[0]

    def detect(self) -> tuple[Look, ...]:
        """Let every detector look once and store what they saw."""
        started = time.monotonic()
        looks = self._watch.look(self.store.cursor)
        for look in looks:
            if look.scan is not None:
                reach("before_record_scan")
                self.store.record_scan(look.name, look.scan.issues, look.scan.cursor)
            else:
                gauges.DETECTOR_FAILURES.labels(look.name).inc()
            if look.problem != self._problems.get(look.name):
                self._problems[look.name] = look.problem
                verb = "detector failed" if look.problem else "detector works"
                self.store.record(0, look.name, verb, why=look.problem)
        gauges.CYCLE_SECONDS.observe(time.monotonic() - started)
        return looks

    def dispatch(self) -> int:
        """Collect finished steps and hand due tasks to free workers; returns how many steps are running."""
        self._reap()
        free = self.settings.workers - sum(not item.overdue for item in self._running.values())
        if free > 0 and not self.stop.is_set():
            only_verify, longest = self._memory_share() >= REFUSE_WORK, max(LONGEST_WAIT, 2 * self.settings.patience)
            for task in self.progress.claim(free, longest, only_verify=only_verify):
                taken = {item.worker for item in self._running.values()}
                worker = next(number for number in itertools.count(1) if number not in taken)
                future = launch(f"worker-{worker}", partial(self.treatment.step, task))
                self._running[task.id] = _Running(task, worker, future, time.monotonic() + self.settings.step_limit)
        return len(self._running)

    def _reap(self) -> None:
        for task_id, item in list(self._running.items()):
            if item.future.done():
                del self._running[task_id]
                self._finished(item)
            elif not item.overdue and time.monotonic() > item.limit:
                item.overdue = True  # the thread cannot be stopped; its place is filled, its task stays claimed
                gauges.OVERDUE.inc()
                self.store.record(task_id, "orchestrator", "step overdue", status=item.task.status)

    def _finished(self, item: _Running) -> None:
        error = item.future.exception()
        gauges.STEPS.labels("done" if error is None else type(error).__name__).inc()
        if error is None:
            self._failures.pop(item.task.id, None)
            return
        count = self._failures[item.task.id] = self._failures.get(item.task.id, 0) + 1
        why = f"{type(error).__name__}: {error}"
        self.store.record(item.task.id, "orchestrator", "step failed", why=why, count=count)
        self.progress.release(item.task, min(60.0, 2.0**count))

    def _memory_share(self) -> float:
        share: float = psutil.Process().memory_info().rss / (self.settings.memory_limit_mb * 1_048_576)
        gauges.MEMORY.set(share)
        if share >= DROP_CACHES:
            gc.collect()
            self.store.db.write(lambda tx: tx.execute("PRAGMA shrink_memory"))
        return share

    def _chores_due(self) -> None:
        """Things that wait for the network or for git run beside the cycle, one of each kind at a time."""
        self._start_chore("outbox", self.outbox.drain)
        if time.monotonic() - self._refreshed >= REFRESH_SECONDS:
            self._refreshed = time.monotonic()
            self._start_chore("knowledge", self.refresh_knowledge)

    def _start_chore(self, name: str, work: Callable[[], int]) -> None:
        previous = self._chore.get(name)
        if previous is None or previous.done():
            if previous is not None and (error := previous.exception()):
                self.store.record(0, name, "chore failed", why=f"{type(error).__name__}: {error}")
            self._chore[name] = launch(name, work)

    def refresh_knowledge(self) -> int:
        """Index documents, configurations and repositories that changed; returns how many sources did."""
        configs = (self.manager.config(service.name) for service in self.manager.services())
        files = dict.fromkeys(config.file for config in configs if config is not None)
        return self.knowledge.refresh(sources(self.settings.documents, tuple(files), self.settings.repositories))

    def cycle(self) -> None:
        """One cycle: detect, then work on what is due until the next cycle should start."""
        started = time.monotonic()
        with self.store.db.reading():
            self.detect()
            self._chores_due()
            self._sign_of_life()
            self._tell()
            end = max(started + self.settings.interval, time.monotonic() + self.settings.interval / 2)
            while not self.stop.is_set() and (left := end - time.monotonic()) > 0:
                self.dispatch()  # also after a slow look there is time to work
                self.stop.wait(min(TICK, left))
        gauges.CYCLES_SKIPPED.inc(max(0, int((time.monotonic() - started) / self.settings.interval) - 1))

    def _sign_of_life(self) -> None:
        counts = self.store.counts()
        for status, count in counts.items():
            gauges.TASKS.labels(status).set(count)
        gauges.OUTBOX.set(self.outbox.waiting())
        gauges.WAL.set(self.store.db.wal_bytes())
        problems = {name: text for name, text in self._problems.items() if text}
        overdue = sum(item.overdue for item in self._running.values())
        self.store.set_control("heartbeat", json.dumps({"detectors": problems, "overdue": overdue, "pid": os.getpid()}))
        notify.notify("WATCHDOG=1", f"STATUS={', '.join(f'{count} {status}' for status, count in counts.items())}")

    def _tell(self) -> None:
        """Log what was written down since the last time, for whoever watches."""
        for entry, target in ledger.news(self.store.db, self._told):
            self._told = entry.id
            self._log.info(entry.action, task=entry.task_id, target=target, actor=entry.actor, why=entry.told)

    def run(self) -> None:
        """Cycle until told to stop; a storage failure costs a cycle, not the process."""
        notify.notify("READY=1")
        while not self.stop.is_set():
            try:
                self.cycle()
            except StorageFault as fault:
                self._log.error("cycle failed", fault=fault.fault.value, why=str(fault))
                self.stop.wait(self.settings.interval)
        notify.notify("STOPPING=1")
        self.close()

    def close(self, seconds: float = 8.0) -> bool:
        """Finish running steps within the time, then close; what is left is looked at by the next start."""
        self.stop.set()
        _, unfinished = wait([item.future for item in self._running.values()], seconds)
        wait(self._chore.values(), 1.0)
        self._reap()
        self._tell()
        self.knowledge.close()
        self.store.close_store()
        self._held.close()
        return not unfinished
