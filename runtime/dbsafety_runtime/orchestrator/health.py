"""Is the orchestrator alive and well: from its own records, not from process lists."""

from __future__ import annotations

import json
from typing import NamedTuple

from dbsafety_runtime.orchestrator.config import OrchestratorSettings
from dbsafety_runtime.orchestrator.gate import elapsed
from dbsafety_runtime.orchestrator.store import IncidentStore
from dbsafety_runtime.storage.lite import WAL_LIMIT

OLDEST_WAITING = "SELECT count(*), max(tries) FROM outbox WHERE state = 'waiting'"
OUTBOX_TRIES = 8


class Health(NamedTuple):
    """0 healthy, 1 degraded, 2 down; and every reason."""

    code: int
    reasons: tuple[str, ...]

    def line(self) -> str:
        """Return one line for people."""
        return f"{('healthy', 'degraded', 'down')[self.code]}: {'; '.join(self.reasons) or 'all is well'}"


def examine(store: IncidentStore, settings: OrchestratorSettings) -> Health:
    """Look at heartbeat, detectors, overdue steps, outbox and write-ahead log; raises a StorageFault."""
    heartbeat = store.control("heartbeat")
    if heartbeat is None:
        return Health(2, ("it has never run on this state directory",))
    now, longest = store.clock(), 3 * settings.interval + settings.detector_limit + 5
    if elapsed(heartbeat[1] - longest, now, 2 * longest):  # one from the future was given before the clock was set back
        return Health(2, (f"no sign of life for {abs(now - heartbeat[1]):.0f} s",))
    state = json.loads(heartbeat[0])
    reasons = [f"detector {name} {problem}" for name, problem in state["detectors"].items()]
    if state["overdue"]:
        reasons.append(f"{state['overdue']} steps are overdue")
    waiting, tries = store.db.rows(OLDEST_WAITING)[0]
    if tries and tries >= OUTBOX_TRIES:
        reasons.append(f"{waiting} messages could not be sent for a long time")
    if store.db.wal_bytes() > WAL_LIMIT:
        reasons.append("the write-ahead log grows: a reader holds an old snapshot")
    if store.paused():
        reasons.append("paused by the operator")
    return Health(1 if reasons else 0, tuple(reasons))
