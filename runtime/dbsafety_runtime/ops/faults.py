"""Named fault points for tests and drills; without a plan each point costs one dictionary test.

A plan is text in DBSAFETY_FAULT, such as `after_claim:kill,before_settle:hang@3`: point, action, and on which pass
(default the first). Actions: `kill` (SIGKILL to this process), `abort`, `exit`, `hang`, `raise`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Final

VARIABLE: Final = "DBSAFETY_FAULT"


class FaultInjected(RuntimeError):
    """Raised by a fault point whose action is `raise`."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    threading.Event().wait()


def _raise() -> None:
    raise FaultInjected("injected fault")


ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": _kill,
    "abort": os.abort,
    "exit": lambda: os._exit(1),
    "hang": _hang,
    "raise": _raise,
}


class FaultPlan:
    """What happens at which pass of which point; thread-safe."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[int, Callable[[], None]]] = {}
        self._passes: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, point: str, action: Callable[[], None], on_pass: int = 1) -> None:
        """Run `action` at the given pass of `point`; pass 0 means every pass."""
        self._steps.setdefault(point, {})[on_pass] = action

    def parse(self, text: str) -> None:
        """Add the steps of a plan text; raises ValueError on an unknown action."""
        for step in filter(None, text.split(",")):
            point, _, action = step.partition(":")
            name, _, on_pass = action.partition("@")
            if name not in ACTIONS:
                raise ValueError(f"{VARIABLE}: unknown action {name!r} in {step!r}")
            self.add(point.strip(), ACTIONS[name], int(on_pass or 1))

    def clear(self) -> None:
        """Forget all steps and counts."""
        self._steps.clear()
        self._passes.clear()

    def reach(self, point: str) -> None:
        """Pass `point`: run what is planned there."""
        if not self._steps:
            return
        with self._lock:
            count = self._passes[point] = self._passes.get(point, 0) + 1
        steps = self._steps.get(point, {})
        action = steps.get(count) or steps.get(0)
        if action is not None:
            action()


PLAN: Final = FaultPlan()
PLAN.parse(os.environ.get(VARIABLE, ""))
reach = PLAN.reach
