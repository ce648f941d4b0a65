"""Slots: the threads that run handlers. A hung handler cannot be killed, so its slot is abandoned and replaced."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from dbsafety_runtime.executor.handlers import DEADLINE, Context, Handler, attempt
from dbsafety_runtime.executor.listener import Listener
from dbsafety_runtime.executor.model import Outcome, Task, WorkerOptions, error_detail
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import log

CANCEL_GRACE: Final = 2.0
LOG = log.get("slots")


class DeadlineExceeded(Exception):
    """An attempt ran longer than its task's deadline."""


class Slots:
    """`concurrency` threads that take tasks from a local queue, and the ledger of every attempt this worker holds.

    A held attempt is waiting, running, or done and not yet settled. `lead` settles and claims; it is called on a slot's
    thread when nothing more runs or `batch` outcomes wait, and when the listener, at which one idle thread waits, says
    that tasks were announced: the thread that claims a task runs it, without a switch between threads.
    """

    def __init__(
        self,
        queue: TaskQueue,
        handlers: Mapping[str, Handler],
        options: WorkerOptions,
        *,
        listener: Listener,
        lead: Callable[[], None],
    ) -> None:
        self._handlers, self._store, self._queue = handlers, queue.store, queue
        self._listener, self._lead, self._batch = listener, lead, options.batch
        self._listening = False
        self._changed = threading.Condition()
        self._waiting: deque[Task] = deque()
        self._running: dict[int, tuple[Context, float]] = {}
        self._done: list[Outcome] = []
        self._held: dict[int, int] = {}
        self.abandoned = 0  # threads stuck in handlers past their deadline
        self._closed = threading.Event()
        for _ in range(options.concurrency):
            self._spawn()

    def _spawn(self) -> None:
        threading.Thread(target=self._work, name="slot", daemon=True).start()

    def exchange(self, settled: tuple[Outcome, ...], tasks: tuple[Task, ...]) -> None:
        """Forget attempts whose outcome the database knows or has refused, and hand the claimed tasks to the slots.

        An attempt held already goes on: a crash of the server undid its claim.
        """
        with self._changed:
            for outcome in settled:
                self._forget(outcome.task)
            for task in tasks:
                if self._held.get(task.task_id) != task.attempt:
                    self._held[task.task_id] = task.attempt
                    self._waiting.append(task)
            self._changed.notify(len(tasks))
            if tasks and self._listening:
                self._listener.interrupt()

    def held(self) -> dict[int, int]:
        """Return the attempts whose leases this worker must renew, by task id."""
        with self._changed:
            return dict(self._held)

    @property
    def count(self) -> int:
        """How many attempts this worker holds."""
        return len(self._held)

    def ready(self) -> bool:
        """Whether outcomes wait and it is time to settle them: enough of them, or nothing else going on."""
        return len(self._done) >= self._batch or (bool(self._done) and not self._waiting and not self._running)

    def take_done(self) -> tuple[Outcome, ...]:
        """Return the outcomes to settle; they stay held until `exchange`."""
        with self._changed:
            done, self._done = tuple(self._done), []
            return done

    def _forget(self, task: Task) -> None:
        if self._held.get(task.task_id) == task.attempt:
            del self._held[task.task_id]

    def lose(self, ids: tuple[int, ...]) -> None:
        """Cancel attempts that belong to another worker now."""
        with self._changed:
            self._waiting = deque(task for task in self._waiting if task.task_id not in ids)
            for task_id in ids:
                if task_id in self._running:
                    self._running[task_id][0].cancel("lease lost")
                else:
                    self._held.pop(task_id, None)

    def _work(self) -> None:
        while True:
            context = self._next()
            if context is None:
                return
            task = context.task
            outcome = attempt(self._handlers, context)
            with self._changed:
                if self._running.get(task.task_id, (None,))[0] is not context:
                    self.abandoned -= 1
                    return  # abandoned meanwhile: another thread has this slot, the outcome is decided
                del self._running[task.task_id]
                if outcome is None:
                    self._forget(task)
                else:
                    self._done.append(outcome)
                enough = self.ready() or outcome is None
            if enough:
                self._lead()

    def _next(self) -> Context | None:
        """The next attempt to run on this thread, marked as running; None once the slots are closed."""
        while True:
            with self._changed:
                while self._listening and not self._waiting and not self._closed.is_set():
                    self._changed.wait()
                if self._waiting:
                    task = self._waiting.popleft()
                    context = Context(task, self._store, self._queue)
                    self._running[task.task_id] = (context, time.monotonic())
                    self._changed.notify()  # another idle thread runs what else waits, or listens
                    return context
                if self._closed.is_set():
                    return None
                self._listening = True
            announced = self._listener.listen()
            with self._changed:
                self._listening = False
                if self._closed.is_set():
                    self._changed.notify_all()
            if announced:
                self._lead()

    def enforce_deadlines(self) -> None:
        """Cancel attempts past their deadline; abandon those that have not stopped `CANCEL_GRACE` seconds later."""
        now = time.monotonic()
        with self._changed:
            for context, since in list(self._running.values()):
                over = now - since - context.task.deadline
                if over > 0:
                    context.cancel(DEADLINE)
                if over > CANCEL_GRACE:
                    self._abandon(context)

    def _abandon(self, context: Context) -> None:
        task = context.task
        LOG.error("handler hangs, slot abandoned", task_id=task.task_id, attempt=task.attempt, kind=task.kind)
        del self._running[task.task_id]
        self.abandoned += 1
        error = DeadlineExceeded(f"no end within {task.deadline:g} s, and no reaction to the cancel flag")
        self._done.append(Outcome(task, "retry", error_detail(error)))
        self._spawn()

    def next_deadline(self) -> float:
        """Return the seconds until a running attempt must be looked at; at most a second."""
        now = time.monotonic()
        with self._changed:
            due = [since + context.task.deadline - now for context, since in self._running.values()]
        return max(0.01, min([1.0, *due]))

    def hand_back(self) -> None:
        """Turn what waits into outcomes that give it back; used once claiming has stopped."""
        with self._changed:
            self._done.extend(Outcome(task, "handback") for task in self._waiting)
            self._waiting.clear()

    def cancel_all(self, reason: str) -> None:
        """Ask every running handler to stop."""
        with self._changed:
            for context, _ in self._running.values():
                context.cancel(reason)

    def surrender(self) -> None:
        """Give back what still runs; the process is about to end, and with it the handlers."""
        with self._changed:
            self._done.extend(Outcome(context.task, "handback") for context, _ in self._running.values())
            self.abandoned += len(self._running)
            self._running.clear()

    @property
    def outcomes(self) -> bool:
        """Whether outcomes wait to be settled."""
        return bool(self._done)

    @property
    def busy(self) -> bool:
        """Whether a handler runs or an outcome is not settled."""
        return bool(self._running or self._done)

    def close(self) -> None:
        """Let idle slot threads end, and return once none listens any more."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            self._listener.interrupt()
            self._changed.wait_for(lambda: not self._listening, CANCEL_GRACE)
