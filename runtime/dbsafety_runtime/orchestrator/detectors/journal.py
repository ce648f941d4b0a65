"""The journal of systemd: failures by message id, port conflicts by wording, read on from a kept cursor."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any, Final, cast

from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.detectors.services import PORT_TAKEN, confirm
from dbsafety_runtime.orchestrator.managers.base import Manager, ManagerError, find
from dbsafety_runtime.orchestrator.model import Issue, Service
from dbsafety_runtime.orchestrator.processes import listeners
from dbsafety_runtime.storage.lite import forbid_open_transaction

# systemd's message catalogue (systemd.journal-fields(7), sd-messages.h).
FAILED: Final = "d9b373ed55a64feb8242e02dbe79a49c"
SPAWN_FAILED: Final = "641257651c1b4ec9a8624d7a40a9e1e7"
EXITED: Final = "98e322203f7a4ed290d09fe03c09fe15"
FIELDS: Final = "MESSAGE,MESSAGE_ID,UNIT,_SYSTEMD_UNIT,UNIT_RESULT,EXIT_STATUS,INVOCATION_ID,ERRNO,EXECUTABLE"
MOST_ENTRIES: Final = 20_000
LONGEST_LINE: Final = 4_194_304
FIRST_LOOK: Final = "--since=-10min"

Entry = Mapping[str, Any]


def text_of(value: object) -> str:
    """Return a field as text: the journal gives a list of bytes for what is not UTF-8, an array for repeated fields."""
    if isinstance(value, list) and value and all(type(part) is int and 0 <= part < 256 for part in value):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list):
        return "\n".join(text_of(part) for part in value)
    return value if isinstance(value, str) else ""


class JournalDetector:
    """Reads what is new in the journal; `command` and `sockets` are replaced in tests."""

    name = "journal"

    def __init__(
        self, manager: Manager, command: Sequence[str] = ("journalctl",),
        sockets: Callable[[], dict[int, int]] = listeners,
    ) -> None:  # fmt: skip
        self._manager, self._command, self._sockets = manager, tuple(command), sockets
        self.unreadable = 0

    def scan(self, cursor: str | None) -> Scan:
        """Return the issues of all entries after the cursor; a refused cursor falls back to the last ten minutes."""
        position = f"--after-cursor={cursor}" if cursor else FIRST_LOOK
        try:
            entries = list(self._entries(position))
        except ManagerError:
            if not cursor:
                raise
            entries = list(self._entries(FIRST_LOOK))
        issues = tuple(self._issues(entries))
        return Scan(issues, text_of(entries[-1].get("__CURSOR")) if entries else cursor)

    def _entries(self, position: str) -> Iterator[Entry]:
        forbid_open_transaction("journalctl")
        command = [*self._command, "-o", "json", "--all", "--no-pager", f"--output-fields={FIELDS}", position]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            output, errors = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stderr)
            for count, line in enumerate(iter(partial(output.readline, LONGEST_LINE), b""), 1):
                yield from self._entry(line)
                if count == MOST_ENTRIES:
                    process.kill()
                    return
            complaint = errors.read().decode("utf-8", "replace").strip()
        if process.returncode != 0:
            raise ManagerError(f"journalctl ended with {process.returncode}: {complaint or 'no message'}")

    def _entry(self, line: bytes) -> Iterator[Entry]:
        try:
            entry = json.loads(line)
        except ValueError:
            self.unreadable += 1
            return
        if isinstance(entry, dict):
            yield entry

    def _issues(self, entries: Sequence[Entry]) -> Iterator[Issue]:
        statuses = {
            text_of(entry.get("UNIT")): text_of(entry.get("EXIT_STATUS"))
            for entry in entries
            if entry.get("MESSAGE_ID") == EXITED
        }
        held: dict[int, int] | None = None
        for entry in entries:
            message, unit = text_of(entry.get("MESSAGE")), text_of(entry.get("UNIT"))
            kind = entry.get("MESSAGE_ID")
            if kind in (FAILED, SPAWN_FAILED) and unit.endswith(".service"):
                yield self._failure(entry, unit, message, statuses.get(unit, ""))
            elif PORT_TAKEN.search(message) and (service := self._service(text_of(entry.get("_SYSTEMD_UNIT")))):
                held = self._sockets() if held is None else held
                yield from confirm(self._manager, service, message, held)

    def _service(self, unit: str) -> Service | None:
        return find(self._manager, unit) if unit.endswith(".service") else None

    def _failure(self, entry: Entry, unit: str, message: str, status: str) -> Issue:
        names = {"UNIT_RESULT": "result", "INVOCATION_ID": "invocation", "ERRNO": "errno", "EXECUTABLE": "path"}
        facts = {fact: text_of(entry[name]) for name, fact in names.items() if entry.get(name)}
        if status:
            facts["exit_status"] = status
        kind = "spawn_failure" if entry.get("MESSAGE_ID") == SPAWN_FAILED else "service_failure"
        return Issue(kind, self.name, unit, message, facts)
