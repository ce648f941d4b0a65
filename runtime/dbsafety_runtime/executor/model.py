"""The executor's records: tasks, outcomes, policy."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

# handback: not begun or stopped on request; interrupted: the database was the reason. Neither counts as a failure.
Verdict = Literal["completed", "failed", "retry", "handback", "interrupted"]
TRACE_LIMIT: Final = 8_000
CHANNEL: Final = "jr_task_announcements"
MAX_PAYLOAD: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt of a task, as claimed: `attempt` is its fence, `deadline` in seconds."""

    task_id: int
    attempt: int
    kind: str
    assignee: str
    payload: Any
    priority: int
    failures: int
    max_attempts: int
    lost_leases: int
    deadline: float
    group_key: str | None
    run_at: datetime

    @property
    def key(self) -> str:
        """The idempotency key to hand to systems outside: the same for every attempt of the task."""
        return f"jr-{self.task_id}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; `detail` is its result or its error."""

    task: Task
    verdict: Verdict
    detail: Any = None

    def text(self) -> str | None:
        """The detail as JSON text, None for none; raises TypeError or ValueError when it is not JSON."""
        return None if self.detail is None else json.dumps(self.detail, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds; a worker is dead after two silent heartbeats without its session lock, else after `lease`."""

    lease: float = 30.0
    heartbeat: float = 5.0
    poll: float = 1.0
    max_lost: int = 3
    backoff: float = 2.0
    backoff_cap: float = 600.0
    max_payload: int = MAX_PAYLOAD

    @property
    def suspect(self) -> int:
        """How many lost leases make a task a suspect, which runs alone."""
        return max(1, self.max_lost - 1)

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat * 2 <= self.lease:
            raise ValueError(f"the lease ({self.lease} s) must last at least two heartbeats ({self.heartbeat} s)")
        if self.poll <= 0 or self.max_lost < 1 or self.backoff < 0:
            raise ValueError("poll and max_lost must be positive, backoff must not be negative")


@dataclass(frozen=True, slots=True)
class WorkerOptions(Policy):
    """How a worker runs: `batch` tasks per slot are claimed and settled with one commit; no `worker_id`: a new one."""

    assignee: str = "default"
    concurrency: int = 1
    batch: int = 1
    grace: float = 25.0
    stall: float = 60.0
    session_lock: bool = True
    once: bool = False
    worker_id: UUID | None = None

    def __post_init__(self) -> None:
        Policy.__post_init__(self)
        if self.concurrency < 1 or self.batch < 1:
            raise ValueError("concurrency and batch must be at least 1")

    @property
    def capacity(self) -> int:
        """How many tasks the worker may hold."""
        return self.concurrency * self.batch


def error_detail(error: BaseException) -> Mapping[str, object]:
    """Return an exception as JSON: class, message, end of the traceback. Keeps no reference to it (fact B7c)."""
    told = traceback.TracebackException.from_exception(error)  # survives a __str__ that raises
    trace = "".join(told.format())
    detail = {"class": type(error).__name__, "message": str(told)[:TRACE_LIMIT], "traceback": trace[-TRACE_LIMIT:]}
    code = getattr(error, "code", None)
    if isinstance(code, str):
        detail["sqlstate"] = code
    return {name: text.replace("\0", "\\0").encode(errors="replace").decode() for name, text in detail.items()}
