"""Detectors run apart from each other: one that raises, hangs or answers nonsense costs only its own result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from dbsafety_runtime.orchestrator.model import Issue, ManagerError

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

    def scan(self, cursor: str | None, /) -> Scan:
        """Look once, from `cursor` on; may raise anything, which counts as a failed look."""


@dataclass(frozen=True, slots=True)
class Check:
    """A detector that needs no position: `look` says what is wrong now."""

    name: str
    look: Callable[[], Iterable[Issue]]

    def scan(self, _cursor: str | None) -> Scan:
        """Look once."""
        return Scan(tuple(self.look()))


def launch(name: str, work: Callable[[], T]) -> Future[T]:
    """Run `work` in a daemon thread of its own: unlike an executor's, a hanging one does not keep the process alive."""
    future: Future[T] = Future()

    def keep(_kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None:  # a failure is the business of who waits, not of the thread
            future.set_exception(error)
        return error is not None

    def run() -> None:
        with ExitStack() as stack:
            stack.push(keep)
            future.set_result(work())

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Look:
    """How one detector's turn went: what it saw, or one sentence about why it saw nothing."""

    name: str
    scan: Scan | None
    problem: str | None = None


class Watch:
    """Runs all detectors side by side, each at most `limit` seconds; one that still hangs is not started again."""

    def __init__(self, detectors: Sequence[Detector], limit: float) -> None:
        self._detectors, self._limit = tuple(detectors), limit
        self._running: dict[str, Future[Scan]] = {}

    def look(self, cursor_of: Callable[[str], str | None]) -> tuple[Look, ...]:
        """Let every detector look once."""
        hanging = {name for name, future in self._running.items() if not future.done()}
        for detector in self._detectors:
            if detector.name not in hanging:
                work = partial(detector.scan, cursor_of(detector.name))
                self._running[detector.name] = launch(f"detector-{detector.name}", work)
        wait([future for name, future in self._running.items() if name not in hanging], self._limit)
        return tuple(self._seen(name, future, hanging) for name, future in self._running.items())

    def _seen(self, name: str, future: Future[Scan], hanging: Collection[str]) -> Look:
        if name in hanging:
            return Look(name, None, "still hangs from an earlier cycle")
        if not future.done():
            return Look(name, None, f"did not answer within {self._limit:g} s")
        if error := future.exception():
            return Look(
                name, None, str(error) if isinstance(error, ManagerError) else f"{type(error).__name__}: {error}"
            )
        answer: object = future.result()
        if not isinstance(answer, Scan) or not all(type(issue) is Issue for issue in answer.issues):
            return Look(name, None, f"answered with {type(answer).__name__}")
        return Look(name, answer)
