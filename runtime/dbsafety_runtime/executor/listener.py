"""The listener: wakes the worker on NOTIFY, proves itself by its own pings and is replaced when they stop."""

from __future__ import annotations

import threading
import time
from typing import Final
from uuid import UUID

from dbsafety_runtime.executor.model import CHANNEL
from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.storage.errors import StorageFault
from dbsafety_runtime.storage.pg import JITTER, Target, subscribe

SILENT_BEATS: Final = 3
LOG = log.get("listener")


def ping_channel(owner: UUID) -> str:
    """The channel on which a worker's heartbeat pings its own listener."""
    return f"jr_ping_{owner.hex}"


class Listener(threading.Thread):
    """Notifications are hints: without them the worker polls. A half-open session is noticed by the missing pings."""

    def __init__(self, target: Target, assignee: str, owner: UUID, wake: threading.Event, heartbeat: float) -> None:
        super().__init__(name="listener", daemon=True)
        self._target, self._assignee, self._wake = target.named(f"listener:{assignee}"), assignee, wake
        self._channels = (CHANNEL, ping_channel(owner))
        self._patience = SILENT_BEATS * heartbeat + 1.0
        self._ending = threading.Event()
        self.advanced = time.monotonic()
        self.replaced = 0

    def run(self) -> None:
        """Listen, and again after every loss, until stopped."""
        while not self._ending.is_set():
            try:
                self._listen()
            except StorageFault as fault:
                LOG.warning("listener lost", error=str(fault), code=fault.code)
            self.advanced = time.monotonic()
            if not self._ending.is_set():
                self.replaced += 1
                metrics.LISTENER_REPLACED.inc()
                self._ending.wait(JITTER.uniform(0.05, 0.4))

    def _listen(self) -> None:
        with subscribe(self._target, self._channels) as subscription:
            heard = time.monotonic()
            self._wake.set()  # whatever was announced while nobody listened
            while not self._ending.is_set():
                arrived = subscription.wait(0.5)
                self.advanced = time.monotonic()
                if arrived:
                    heard = self.advanced
                elif self.advanced - heard > self._patience:
                    LOG.warning("listener silent, replacing it", seconds=round(self.advanced - heard, 1))
                    return
                if (CHANNEL, self._assignee) in arrived:
                    self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end within half a second."""
        self._ending.set()
