"""The listener: hears NOTIFY, proves itself by its own pings and is replaced when they stop."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import Final
from uuid import UUID

from dbsafety_runtime.executor.model import CHANNEL
from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.storage.errors import Disconnected, StorageFault
from dbsafety_runtime.storage.pg import JITTER, Subscription, Target, subscribe

SILENT_BEATS: Final = 3
LOG = log.get("listener")


def ping_channel(owner: UUID) -> str:
    """The channel on which a worker's heartbeat pings its own listener."""
    return f"jr_ping_{owner.hex}"


class Wake:
    """An event that can be waited for together with a socket; `set` is safe in a signal handler."""

    def __init__(self) -> None:
        self._flag = False
        self._lock = threading.RLock()  # a signal handler may come in between
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Wake the waiter, or the next one."""
        with self._lock:
            if not self._flag:
                self._flag = True
                os.write(self._writer, b"!")

    def take(self) -> bool:
        """Say whether it was set, and clear it."""
        was = self._flag
        self._flag = False
        return was

    def wait(self, seconds: float | None = None, socket: int | None = None) -> bool:
        """Wait until set, at most `seconds`; return True when `socket` was readable instead."""
        if self._flag:
            return False
        poller = select.poll()  # not select(): that refuses numbers above 1023
        poller.register(self._reader, select.POLLIN)
        if socket is not None:
            poller.register(socket, select.POLLIN)
        seen = dict(poller.poll(None if seconds is None else seconds * 1000))
        if self._reader in seen:
            with suppress(BlockingIOError):
                os.read(self._reader, 4096)
        return socket in seen and seen[socket] != select.POLLNVAL  # closed meanwhile

    def close(self) -> None:
        """Close the pipe; later calls of `set` do nothing."""
        with self._lock:
            self._flag = True
            os.close(self._reader)
            os.close(self._writer)


class Listener(threading.Thread):
    """Notifications are hints: without them the worker polls. A half-open session is noticed by the missing pings.

    The thread connects, proves and replaces the session; an idle slot's thread waits on its socket, in `listen`.
    """

    def __init__(self, target: Target, assignee: str, owner: UUID, wake: Wake, heartbeat: float) -> None:
        super().__init__(name="listener", daemon=True)
        self._target, self._assignee, self._wake = target.named(f"listener:{assignee}"), assignee, wake
        self._channels = (CHANNEL, ping_channel(owner))
        self._ear = Wake()
        self._patience = SILENT_BEATS * heartbeat + 1.0
        self._ending = threading.Event()
        self._subscription: Subscription | None = None
        self._heard = self.advanced = time.monotonic()
        self.replaced = 0

    def run(self) -> None:
        """Listen, and again after every loss, until stopped."""
        while not self._ending.is_set():
            try:
                self._listen()
            except StorageFault as fault:
                LOG.warning("listener lost", error=str(fault), code=fault.code)
            self._subscription = None
            self.advanced = time.monotonic()
            if not self._ending.is_set():
                self.replaced += 1
                metrics.LISTENER_REPLACED.inc()
                self._ending.wait(JITTER.uniform(0.05, 0.4))

    def _listen(self) -> None:
        with subscribe(self._target, self._channels) as subscription:
            self._heard = time.monotonic()
            self._subscription = subscription
            self._wake.set()  # whatever was announced while nobody listened
            self.interrupt()  # there is a new socket to wait on
            while not self._ending.wait(0.25):
                if self._take(subscription):
                    self._wake.set()
                self.advanced = time.monotonic()
                if self.advanced - self._heard > self._patience:
                    LOG.warning("listener silent, replacing it", seconds=round(self.advanced - self._heard, 1))
                    return

    def _take(self, subscription: Subscription) -> bool:
        arrived = subscription.collect()
        if arrived:
            self._heard = time.monotonic()
        return (CHANNEL, self._assignee) in arrived

    def listen(self) -> bool:
        """Wait until tasks are announced, on a slot's thread; False when interrupted or anything else arrived."""
        subscription = self._subscription
        readable = self._ear.wait(socket=subscription.fileno() if subscription else None)
        self._ear.take()
        try:
            return readable and subscription is not None and self._take(subscription)
        except Disconnected:
            return False  # the listener's own thread replaces the session

    def interrupt(self) -> None:
        """End the current `listen`, or the next one."""
        self._ear.set()

    def stop(self) -> None:
        """Ask the thread to end within a quarter of a second; nobody may listen any more."""
        self._ending.set()
        self._ear.close()
