"""Reads and checks one file."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from dbsafety.check.module import ModuleResult, check_module, worth_parsing
from dbsafety.check.session import Session
from dbsafety.model.faults import UnreadableFault

_KEPT_BYTES = 4_000_000
"""Source whose trees may be kept in memory: some 100,000 lines, some 100 MB."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to check: its name as `paths.shown`, whether it was named on the command line, its size in bytes."""

    path: str
    named: bool
    size: int


def read(path: str) -> bytes:
    """The bytes of a file. Raises UnreadableFault."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnreadableFault(f"cannot read: {error.strerror or error}", path) from error


def screened(path: str, *, named: bool) -> SourceFile | None:
    """The file if it may have findings, None if not. Raises UnreadableFault."""
    data = read(path)
    return SourceFile(path, named, len(data)) if named or worth_parsing(data) else None


class Checker:
    """Checks files one after the other, forgetting their trees now and then."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept = 0

    def check(self, file: SourceFile) -> ModuleResult:
        """Check a file; one that has become unreadable is a fault of the result."""
        if self._kept > _KEPT_BYTES:
            self._session, self._kept = self._session.renewed(), 0
            gc.collect()  # scopes and graphs are cyclic, and the collector is off while files are checked
        self._kept += file.size
        try:
            data = read(file.path)
        except UnreadableFault as fault:
            return ModuleResult(file.path, faults=(fault,))
        return check_module(data, file.path, self._session, named=file.named)
