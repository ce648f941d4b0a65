"""Handlers: how user code is found, what it is given, and how its ending becomes an outcome."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from dbsafety_runtime.executor import statements as sql
from dbsafety_runtime.executor.memory import MemoryStore
from dbsafety_runtime.executor.model import Outcome, Task, error_detail
from dbsafety_runtime.executor.queue import TaskQueue
from dbsafety_runtime.ops import log
from dbsafety_runtime.ops.faults import reach
from dbsafety_runtime.storage.errors import TRANSIENT, CommitRefused
from dbsafety_runtime.storage.uow import Store, Transaction, forbid_open_transaction, reclaim

GROUP: Final = "dbsafety_runtime.handlers"
DEADLINE: Final = "deadline"
QUERY_CANCELED: Final = "57014"  # the time limit of a handler's own statement: the next attempt will meet it again
logger = log.get("handler")


class GiveUp(Exception):
    """Raised by a handler whose task can never succeed: it fails without another try."""


class Cancelled(Exception):
    """Raised by `Context.checkpoint` once the attempt has been cancelled."""


class UnknownKind(LookupError):
    """No handler is registered for the task's kind."""


class Context:
    """What a handler gets: its task, a cancel flag, and units of work of its own."""

    def __init__(self, task: Task, store: Store, queue: TaskQueue) -> None:
        self.task = task
        self.cancelled = threading.Event()
        self.reason = ""
        self.settled = False
        self.refused: str | None = None
        self._store, self._queue = store, queue
        self._completing = False

    @property
    def memory(self) -> MemoryStore:
        """The memory methods; each works in a unit of work of its own, so call them outside `write`."""
        return self._queue

    def cancel(self, reason: str) -> None:
        """Ask the handler to stop; the first reason stays."""
        if not self.cancelled.is_set():
            self.reason = reason
            self.cancelled.set()

    def checkpoint(self) -> None:
        """Raise Cancelled when the attempt should stop: deadline, lost lease or shutdown."""
        if self.cancelled.is_set():
            raise Cancelled(self.reason)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A unit of work on the executor's database for the handler's own statements."""
        self._completing = False
        try:
            with self._store.write() as tx:
                yield tx
        except CommitRefused as refusal:
            self.refused = str(refusal)
            raise
        self.settled = self.settled or self._completing

    def once(self, tx: Transaction, key: str, result: str | None = None) -> bool:
        """Record the effect `key` of this task in `tx`; False when an earlier attempt has committed it already."""
        return bool(tx.execute(sql.EFFECT, (self.task.task_id, key, result)))

    def complete(self, tx: Transaction, result: object = None) -> None:
        """Complete the task in `tx`: effect and completion in one commit. Raises LostLease."""
        self._queue.complete_task(self.task, result, tx)
        self._completing = True


Handler = Callable[[Context], Any]
H = TypeVar("H", bound=Handler)


def handler(kind: str) -> Callable[[H], H]:
    """Mark a function as the handler of `kind` for `--handlers MODULE`."""

    def mark(function: H) -> H:
        function.__dict__["__task_kind__"] = kind
        return function

    return mark


def load(modules: Sequence[str] = ()) -> dict[str, Handler]:
    """Return the handlers by kind: installed entry points of the group, then the marked functions of `modules`.

    Raises ImportError when a module or entry point cannot be imported.
    """
    found: dict[str, Handler] = {point.name: point.load() for point in entry_points(group=GROUP)}
    for name in modules:
        for value in vars(importlib.import_module(name)).values():
            kind = getattr(value, "__task_kind__", None)
            if isinstance(kind, str):
                found[kind] = value
    return found


def attempt(handlers: Mapping[str, Handler], context: Context) -> Outcome | None:
    """Run the handler of the context's task and return how it ended; None when it completed the task itself.

    Whatever it raises, SystemExit included, is recorded; a transaction it left open is ended and fails the task.
    """
    task = context.task
    forbid_open_transaction("a handler")
    reach("before_handler")
    try:
        outcome = Outcome(task, "completed", _find(handlers, task.kind)(context))
    except GiveUp as error:
        outcome = Outcome(task, "failed", error_detail(error))
    except Cancelled as error:
        asked = context.cancelled.is_set() and context.reason != DEADLINE
        outcome = Outcome(task, "handback" if asked else "retry", error_detail(error))
    except TRANSIENT as fault:
        outcome = Outcome(task, "retry" if fault.code == QUERY_CANCELED else "interrupted", error_detail(fault))
    except BaseException as error:
        logger.exception("handler failed", task_id=task.task_id, attempt=task.attempt, kind=task.kind)
        outcome = Outcome(task, "retry", error_detail(error))
    if reclaim():
        outcome = Outcome(task, "retry", error_detail(CommitRefused("the handler left a transaction open")))
    elif context.refused and outcome.verdict == "completed":
        outcome = Outcome(task, "retry", error_detail(CommitRefused(context.refused)))
    reach("after_handler")
    return None if context.settled else _printable(outcome)


def _find(handlers: Mapping[str, Handler], kind: str) -> Handler:
    if kind not in handlers:
        raise UnknownKind(f"no handler for kind {kind!r}")
    return handlers[kind]


def _printable(outcome: Outcome) -> Outcome:
    """The outcome, or a failure when its result is no JSON."""
    try:
        text = outcome.text() or ""
    except (TypeError, ValueError, RecursionError) as error:
        return Outcome(outcome.task, "failed", error_detail(error))
    if "\\u0000" in text:
        return Outcome(outcome.task, "failed", error_detail(ValueError("the result holds a NUL character")))
    return outcome
