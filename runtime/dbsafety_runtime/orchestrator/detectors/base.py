"""Detectors run apart from each other: one that raises, hangs or answers nonsense costs only its own result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar

from dbsafety_runtime.orchestrator.model import Issue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look brought: issues, and the position read up to for sources that have one."""

    issues: tuple[Issue, ...]
    cursor: str | None = None


class Detector(Protocol):
    """Something that looks for issues."""

    @property
    def name(self) -> str:
        """Who looks, for history and cursor."""

    def scan(self, cursor: str | None) -> Scan:
        """Look once, from `cursor` on; may raise anything, which counts as a failed look."""


@dataclass(frozen=True, slots=True)
class Check:
    """A detector that needs no position: `look` says what is wrong now."""

    name: str
    look: Callable[[], Iterable[Issue]]

    def scan(self, cursor: str | None) -> Scan:
        """Look once."""
        del cursor
        return Scan(tuple(self.look()))


class _Kept:
    """Keeps whatever exception leaves its block: a failure is the business of who waits, not of the thread."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return error is not None


def launch(name: str, work: Callable[[], T]) -> Future[T]:
    """Run `work` in a daemon thread of its own: unlike an executor's, a hanging one does not keep the process alive."""
    future: Future[T] = Future()

    def run() -> None:
        with _Kept(future):
            future.set_result(work())

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Look:
    """How one detector's turn went: what it saw, or one sentence about why it saw nothing."""

    name: str
    scan: Scan | None
    problem: str | None
    seconds: float


class Watch:
    """Runs all detectors side by side, each at most `limit` seconds; one that still hangs is not started again."""

    def __init__(self, detectors: Sequence[Detector], limit: float) -> None:
        self._detectors, self._limit = tuple(detectors), limit
        self._hanging: dict[str, Future[Scan]] = {}

    def look(self, cursor_of: Callable[[str], str | None]) -> tuple[Look, ...]:
        """Let every detector look once."""
        started = time.monotonic()
        running: dict[str, Future[Scan]] = {}
        for detector in self._detectors:
            previous = self._hanging.get(detector.name)
            if previous is None or previous.done():
                self._hanging.pop(detector.name, None)
                work = partial(detector.scan, cursor_of(detector.name))
                running[detector.name] = launch(f"detector-{detector.name}", work)
        return tuple(self._collect(detector.name, running.get(detector.name), started) for detector in self._detectors)

    def _collect(self, name: str, future: Future[Scan] | None, started: float) -> Look:
        if future is None:
            return Look(name, None, "still hangs from an earlier cycle", 0.0)
        wait([future], max(0.0, started + self._limit - time.monotonic()))
        if not future.done():
            self._hanging[name] = future
            return Look(name, None, f"did not answer within {self._limit:g} s", self._limit)
        seconds, error = time.monotonic() - started, future.exception()
        if error is not None:
            return Look(name, None, f"{type(error).__name__}: {error}", seconds)
        answer: object = future.result()
        if not isinstance(answer, Scan) or not all(type(issue) is Issue for issue in answer.issues):
            return Look(name, None, f"answered with {type(answer).__name__}", seconds)
        return Look(name, answer, None, seconds)
