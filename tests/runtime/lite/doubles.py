"""Stand-ins for the clock and the service manager."""

from __future__ import annotations


class FrozenClock:
    """Seconds since 1970 that pass only when told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += seconds
