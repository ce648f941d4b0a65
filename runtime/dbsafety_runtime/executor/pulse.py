"""The pulse: a thread with a session of its own that renews leases, rescues tasks, and ends a worker that hangs."""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from dbsafety_runtime.executor import statements as sql
from dbsafety_runtime.executor.listener import ping_channel
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import log
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.pg import JITTER
from dbsafety_runtime.storage.uow import Transaction

EXIT_STALLED: Final = 70
PRUNE_SHARE = 0.02
LOG = log.get("pulse")


class WorkerIdInUse(Exception):
    """Another living process has this worker id."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat learned: tasks no longer ours, the assignee's limit, whether suspects wait."""

    lost: tuple[int, ...]
    limit: int | None
    suspects: bool


class Pulse(threading.Thread):
    """Heartbeat and rescue by turns, every half heartbeat.

    `held` gives the attempts to renew by task id; `on_beat` gets each Beat; `advanced` gives the main loop's last sign
    of life (monotonic seconds): when that is `stall` seconds old, the process dumps its stacks and exits with code 70.
    """

    def __init__(
        self,
        queue: TaskQueue,
        *,
        held: Callable[[], Mapping[int, int]],
        on_beat: Callable[[Beat], None],
        main_advanced: Callable[[], float],
        stall: float,
        session_lock: bool = True,
    ) -> None:
        super().__init__(name="pulse", daemon=True)
        self._store, self._queue, self._policy = queue.store, queue, queue.policy
        self._held, self._on_beat, self._main_advanced = held, on_beat, main_advanced
        self._stall, self._session_lock = stall, session_lock
        self._values: dict[str, object] = {
            "owner": str(queue.owner), "assignee": queue.assignee, "host": socket.gethostname(), "pid": os.getpid(),
            "heartbeat": self._policy.heartbeat, "lock": session_lock, "lease": self._policy.lease,
            "suspect": self._policy.suspect, "channel": ping_channel(queue.owner),
        }  # fmt: skip
        self._locked_backend = 0
        self._ending = threading.Event()
        self.advanced = time.monotonic()

    def register(self) -> None:
        """Announce the worker; raises WorkerIdInUse when a living process holds the same id."""
        self._store.run(self._announce, repeatable=True)

    def _announce(self, tx: Transaction) -> None:
        if self._session_lock and self._locked_backend != tx.backend:
            if self._locked_backend:
                tx.execute(sql.END_LOST, self._values | {"lost": self._locked_backend})
            if not tx.execute(sql.TAKE_LOCK, self._values)[0][0]:
                raise WorkerIdInUse(f"worker id {self._queue.owner} is in use by a living process")
            self._locked_backend = tx.backend
        tx.execute(sql.REGISTER, self._values)

    def run(self) -> None:
        """Beat and rescue until stopped; database trouble is logged and tried again."""
        turn = 0
        while not self._ending.wait(JITTER.uniform(0.4, 0.5) * self._policy.heartbeat):
            self._watch_main_loop()
            try:
                if turn % 2 == 0:
                    self._on_beat(self.beat())
                else:
                    self._rescue()
                turn += 1
            except StorageFault as fault:
                turn = 0
                LOG.warning("pulse missed", fault=fault.fault.value, code=fault.code, error=str(fault))
            except WorkerIdInUse:
                LOG.exception("another process took this worker's id")
                os._exit(EXIT_STALLED)
            self.advanced = time.monotonic()

    def beat(self) -> Beat:
        """Renew the leases of all held attempts and say which of them belong to others now."""
        reach("before_heartbeat")
        held = self._held()
        values = self._values | {"ids": list(held), "attempts": list(held.values())}

        def work(tx: Transaction) -> Beat:
            if self._session_lock and self._locked_backend != tx.backend:
                self._announce(tx)  # first: the lost session may hold the worker's row
            lost, known, limit, suspects, _ = tx.execute(sql.HEARTBEAT, values)[0]
            if not known:
                self._announce(tx)
            return Beat(tuple(lost), limit, suspects)

        return self._store.run(work, repeatable=True)

    def _rescue(self) -> None:
        for task_id, status in self._queue.rescue():
            LOG.warning("task rescued", task_id=task_id, status=status)
        if JITTER.random() < PRUNE_SHARE:
            for statement in (sql.PRUNE, sql.PRUNE_MARKERS):
                self._store.run(partial(Transaction.execute, sql=statement), repeatable=True)

    def _watch_main_loop(self) -> None:
        silent = time.monotonic() - self._main_advanced()
        if silent > self._stall:
            LOG.critical("main loop stalled, ending the process", seconds=round(silent, 1))
            faulthandler.dump_traceback()
            os._exit(EXIT_STALLED)

    def halt(self) -> None:
        """Stop beating, without a word to the database."""
        self._ending.set()

    def stop(self) -> None:
        """Stop beating and remove the worker's row."""
        self.halt()
        self.join(timeout=20)
        self._store.run(lambda tx: tx.execute(sql.LEAVE, self._values), repeatable=True)
        self._store.close()
