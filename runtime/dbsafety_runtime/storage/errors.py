"""Storage failures as the rest of the runtime sees them: one class per reaction, never a driver's exception."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Fault(Enum):
    """What a failed statement calls for; the value is the label used in logs and metrics."""

    RETRY = "retry"
    RECONNECT = "reconnect"
    COMMIT_UNKNOWN = "commit-unknown"
    RESOURCE = "resource"
    REJECTED = "rejected"
    BUG = "bug"


class StorageFault(Exception):
    """A database failure after classification.

    `fault` is the class, `code` the SQLSTATE or SQLite error name (None when the driver gave none). The text is one
    line without values.
    """

    fault: Fault = Fault.BUG

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Retryable(StorageFault):
    """The transaction lost against another one; the whole unit of work may run again."""

    fault = Fault.RETRY


class Disconnected(StorageFault):
    """The session is gone and nothing was committed; reconnect, then run the whole unit of work again."""

    fault = Fault.RECONNECT


class CommitUnknown(StorageFault):
    """The session was lost during commit and the server has not yet said how it ended."""

    fault = Fault.COMMIT_UNKNOWN


class ResourceExhausted(StorageFault):
    """Disk, connections, memory or write access are missing: stop claiming, keep trying slowly."""

    fault = Fault.RESOURCE


class Rejected(StorageFault):
    """The data violates a type, size or constraint: the task's fault, never retried as it is."""

    fault = Fault.REJECTED


class StorageBug(StorageFault):
    """Our own statement or transaction use is wrong."""

    fault = Fault.BUG


class CommitRefused(StorageBug):
    """A unit of work ended normally although a statement in it had failed: a commit would lose the work (fact B2)."""


TRANSIENT: Final = (Retryable, Disconnected, ResourceExhausted, CommitUnknown)
"""Faults of the moment: neither the work's nor ours, so that it may be tried again later."""


class LostLease(Exception):
    """A fenced update matched no row: another attempt owns the task now. Not an error of the task."""


class SchemaMismatch(Exception):
    """The database's schema version does not fit this program; the text says which side to upgrade."""
