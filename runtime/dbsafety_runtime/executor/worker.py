"""The worker: one loop that settles outcomes and claims tasks, around slots, a pulse and a listener."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from dbsafety_runtime.executor.handlers import Handler
from dbsafety_runtime.executor.listener import Listener, Wake
from dbsafety_runtime.executor.model import Outcome, WorkerOptions, error_detail
from dbsafety_runtime.executor.pulse import Beat, Pulse
from dbsafety_runtime.executor.queue import TaskQueue, Turn
from dbsafety_runtime.executor.slots import CANCEL_GRACE, Slots
from dbsafety_runtime.ops import log, metrics
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.ops.notify import notify, watchdog_seconds
from dbsafety_runtime.storage import migrate
from dbsafety_runtime.storage.errors import TRANSIENT, Rejected, ResourceExhausted, StorageFault
from dbsafety_runtime.storage.pg import JITTER, Target
from dbsafety_runtime.storage.uow import Store

EXIT_OK: Final = 0
EXIT_STUCK: Final = 75
LINGER: Final = 0.05
RETRY_PAUSE: Final = 0.4
SLOW_PAUSE: Final = 2.0
THREAD_PATIENCE: Final = 20.0
NUMBERS: Final = re.compile(r"\d+")
LOG = log.get("worker")


class Worker:
    """One executor process for one assignee; `stop` may be called from a signal handler."""

    def __init__(self, target: Target, options: WorkerOptions, handlers: Mapping[str, Handler]) -> None:
        self.options, self._owner = options, options.worker_id or uuid4()
        self._wake = Wake()
        self._stopping = False
        self._turns = threading.Lock()
        self._crash: BaseException | None = None
        self._store = Store(target.named(f"main:{options.assignee}"), tries=2)
        self._side = Store(
            target.named(f"handlers:{options.assignee}"), size=options.concurrency + 1, scrub=True, tries=2
        )
        self.queue = self._queue(self._store)
        self._memory = self._queue(self._side)
        self.listener = Listener(target, options.assignee, self._owner, self._wake, options.heartbeat)
        self.slots = Slots(self._memory, handlers, options, listener=self.listener, lead=self._lead)
        self._pulse = Pulse(
            self._queue(Store(target.named(f"pulse:{options.assignee}"), tries=2)),
            held=self.slots.held,
            on_beat=self._learn,
            main_advanced=lambda: self._advanced,
            stall=options.stall,
            session_lock=options.session_lock,
        )
        self._beat = Beat((), None, suspects=False)
        self._solo_turn = self._solo_running = False
        self._pending: tuple[Outcome, ...] = ()
        self._ready = self._exhausted = False
        self._pause = 0.0
        self._advanced = self._last_turn = time.monotonic()
        self._poll = options.poll
        self._next_poll = self._next_ping = 0.0
        metrics.IN_FLIGHT.set_function(lambda: self.slots.count)

    def _queue(self, store: Store) -> TaskQueue:
        return TaskQueue(store, self.options.assignee, self._owner, self.options)

    def stop(self) -> None:
        """Stop claiming and drain; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def run(self) -> int:
        """Work until stopped (or, with `once`, until nothing is ready); return the exit code.

        Raises SchemaMismatch, WorkerIdInUse or a StorageFault at the start, StorageBug at any time.
        """
        migrate.check(self._store)
        self._pulse.register()
        self._pulse.start()
        self.listener.start()
        LOG.info("worker started", worker=str(self._owner), assignee=self.options.assignee, pid=os.getpid())
        try:
            while not self._finished():
                self._step()
            return self._drain()
        finally:
            self.slots.close()
            self.listener.stop()
            self._pulse.halt()
            self._wake.close()
            self._store.close()
            self._side.close()

    def _finished(self) -> bool:
        idle = self._exhausted and not self.slots.count and not self._beat.suspects
        return not self._crash and (self._stopping or self._stuck or (self.options.once and idle))

    @property
    def _stuck(self) -> bool:
        return self.slots.abandoned > self.options.concurrency

    def _learn(self, beat: Beat) -> None:
        """Take in a heartbeat, on the pulse's thread."""
        if beat.lost:
            LOG.warning("leases lost", tasks=list(beat.lost))
            self.slots.lose(beat.lost)
        self._beat = beat
        if beat.suspects:
            self._wake.set()

    def _step(self) -> None:
        """One turn of the loop: settle and claim when there is a reason to, then wait for the next reason."""
        reach("main_loop")
        self._advanced = now = time.monotonic()
        self._poll = JITTER.uniform(0.8, 1.2) * self.options.poll  # drawing it on the way to a handler is slow
        woken = self._wake.take()
        self.slots.enforce_deadlines()
        lingered = self.slots.outcomes and now - self._last_turn >= LINGER
        if woken or self._pending or self._pause or lingered or self.slots.ready() or now >= self._next_poll:
            with self._turns:
                self._turn()
            self.slots.stir()
            time.sleep(0)  # lets a slot's thread begin at once instead of when this one waits
        self._tell_manager(time.monotonic())
        self._wake.wait(self._patience(time.monotonic()))

    def _lead(self) -> None:
        """Take a turn on the thread of a slot, except while draining; trouble wakes the main loop."""
        if not self._stopping and not self._crash:
            with self._turns:
                try:
                    self._turn()
                except BaseException as error:
                    LOG.exception("turn failed on a slot's thread")
                    self._crash = error
        if self._stopping or self._crash or self._pause or (self.options.once and self._exhausted):
            self._wake.set()

    def _patience(self, now: float) -> float:
        if self._pause:
            return self._pause
        if self.slots.outcomes:
            return max(0.0, self._last_turn + LINGER - now)
        return max(0.0, min(self.slots.next_deadline(), self._next_poll - now))

    def _room(self) -> tuple[int, bool]:
        """How many tasks to claim now, and whether only a suspect, which runs alone."""
        held = self.slots.count - len(self._pending)
        if self._stopping or (held and (self._solo_running or (self._solo_turn and self._beat.suspects))):
            return 0, False
        if self._solo_turn and self._beat.suspects:
            return 1, True
        return max(0, self.options.capacity - held), False

    def _turn(self) -> None:
        """Settle what is done and claim in one transaction; trouble keeps the outcomes for the next turn."""
        if self._crash:
            raise self._crash
        self._pending += self.slots.take_done()
        room, solo = self._room()
        if not self._pending and not room:
            self._next_poll = time.monotonic() + self._poll
            return
        try:
            turn = self._settle(room, solo=solo)
        except TRANSIENT as fault:
            self._degrade(fault)
            return
        self._record(turn)
        self._last_turn = time.monotonic()
        self._next_poll = self._last_turn + self._poll
        if room:
            self._exhausted = not turn.claimed
            self._solo_running = solo and bool(turn.claimed)
            self._solo_turn = not self._solo_turn
            if self._beat.suspects and not turn.claimed:
                self._beat = Beat((), self._beat.limit, suspects=not solo)
                self._wake.set()

    def _settle(self, room: int, *, solo: bool) -> Turn:
        limited = self._beat.limit is not None
        try:
            return self.queue.settle(self._pending, room, solo=solo, limited=limited)
        except Rejected as fault:
            LOG.warning("an outcome was rejected by the database", error=str(fault), code=fault.code)
        turns = [self._settle_alone(outcome) for outcome in self._pending]
        statuses = {task_id: status for turn in turns for task_id, status in turn.settled.items()}
        return Turn(statuses, tuple(outcome for turn in turns for outcome in turn.refused), ())

    def _settle_alone(self, outcome: Outcome) -> Turn:
        """Settle one outcome; when the database rejects its data, as failed with that reason."""
        try:
            return self.queue.settle((outcome,))
        except Rejected as fault:
            return self.queue.settle((Outcome(outcome.task, "failed", error_detail(fault)),))

    def _degrade(self, fault: StorageFault) -> None:
        if not self._pause:
            LOG.warning("degraded: cannot settle or claim", fault=fault.fault.value, code=fault.code, error=str(fault))
        self._pause = JITTER.uniform(0.5, 1.0) * (SLOW_PAUSE if isinstance(fault, ResourceExhausted) else RETRY_PAUSE)
        metrics.DEGRADED.set(1)

    def _record(self, turn: Turn) -> None:
        if self._pause:
            LOG.info("recovered")
            self._pause = 0.0
            metrics.DEGRADED.set(0)
        if not self._ready:
            self._ready = True
            notify("READY=1")
        for outcome in turn.refused:
            metrics.LOST_LEASES.inc()
            LOG.warning("outcome refused: lease lost", task_id=outcome.task.task_id, attempt=outcome.task.attempt)
        for status in turn.settled.values():
            metrics.SETTLED.labels(status).inc()
        outcomes, self._pending = self._pending, ()
        if outcomes:
            reach("after_settle_commit")
        if turn.claimed:
            reach("after_claim_commit")
        self.slots.exchange(outcomes, turn.claimed)
        metrics.CLAIMED.inc(len(turn.claimed))
        for outcome in outcomes:
            if outcome.verdict in ("failed", "retry"):
                self._note_mistake(outcome, turn.settled.get(outcome.task.task_id, "refused"))

    def _note_mistake(self, outcome: Outcome, status: str) -> None:
        task, detail = outcome.task, outcome.detail
        LOG.error(
            "attempt failed", task_id=task.task_id, attempt=task.attempt, kind=task.kind, status=status,
            error=detail["class"], message=detail["message"], sqlstate=detail.get("sqlstate"),
        )  # fmt: skip
        signature = f"{task.kind}: {detail['class']}: {NUMBERS.sub('#', detail['message'])}"[:500]
        self._memory.record_fara_mistake(signature, task.kind, detail)

    def _tell_manager(self, now: float) -> None:
        """Feed the service manager's watchdog, only while main loop, pulse and listener all make progress."""
        if now < self._next_ping or not self._ready:
            return
        self._next_ping = now + min(5.0, (watchdog_seconds() or 15.0) / 3)
        quiet = max(now - self._pulse.advanced - 2 * self.options.heartbeat, now - self.listener.advanced)
        if quiet < THREAD_PATIENCE:
            state = "degraded" if self._pause else "working"
            notify("WATCHDOG=1", f"STATUS={state}, {self.slots.count} tasks held")
        else:
            LOG.error("pulse or listener does not advance", seconds=round(quiet, 1))

    def _drain(self) -> int:
        """Hand back what waits, give running handlers the grace time, then cancel, surrender and settle."""
        notify("STOPPING=1")
        self._stopping = True
        code = EXIT_STUCK if self._stuck else EXIT_OK
        with self._turns:
            self.slots.hand_back()
        self._settle_until(time.monotonic() + self.options.grace)
        if self.slots.busy:
            self.slots.cancel_all("shutdown")
            self._settle_until(time.monotonic() + CANCEL_GRACE)
        with self._turns:
            self.slots.surrender()
        self._settle_until(time.monotonic() + CANCEL_GRACE)
        try:
            self._pulse.stop()
        except StorageFault as fault:
            LOG.warning("could not sign off", error=str(fault))
        LOG.info("worker stopped", code=code)
        return code

    def _settle_until(self, deadline: float) -> None:
        while (self.slots.busy or self._pending) and time.monotonic() < deadline:
            self._advanced = time.monotonic()
            with self._turns:
                self._turn()
            self._tell_manager(time.monotonic())
            self._wake.wait(self._pause or 0.05)
            self._wake.take()
