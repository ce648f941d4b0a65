"""The journal of systemd: failures by message id, port conflicts by wording, read on from a kept cursor."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

from dbsafety_runtime.orchestrator.detectors.base import Scan
from dbsafety_runtime.orchestrator.detectors.services import PORT_TAKEN, confirm
from dbsafety_runtime.orchestrator.model import Facts, Issue, Manager, ManagerError, find, shorten
from dbsafety_runtime.orchestrator.processes import listeners, output_of

# systemd's message catalogue (systemd.journal-fields(7), sd-messages.h).
FAILED: Final = "d9b373ed55a64feb8242e02dbe79a49c"
SPAWN_FAILED: Final = "641257651c1b4ec9a8624d7a40a9e1e7"
EXITED: Final = "98e322203f7a4ed290d09fe03c09fe15"
KINDS: Final = {FAILED: "service_failure", SPAWN_FAILED: "spawn_failure"}
NAMES: Final = {
    "UNIT_RESULT": "result", "INVOCATION_ID": "invocation", "ERRNO": "errno", "EXECUTABLE": "path",
    "EXIT_STATUS": "exit_status",
}  # fmt: skip
FIELDS: Final = "MESSAGE,MESSAGE_ID,UNIT,_SYSTEMD_UNIT,UNIT_RESULT,EXIT_STATUS,INVOCATION_ID,ERRNO,EXECUTABLE"
MOST_ENTRIES: Final = 20_000
MOST_BYTES: Final = 16_777_216
LONGEST_LINE: Final = 4_194_304
READ_SECONDS: Final = 300.0
FIRST_LOOK: Final = "--since=-10min"


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
        # --after-cursor drops an entry when the cursor's own one was rotated away: ask for it and leave it out here.
        try:
            position = f"--cursor={cursor}" if cursor else FIRST_LOOK
            entries = [entry for entry in self._entries(position) if entry["__CURSOR"] != cursor]
        except ManagerError:
            if not cursor:
                raise
            entries = list(self._entries(FIRST_LOOK))
        issues = tuple(self._issues(entries))
        return Scan(issues, entries[-1]["__CURSOR"] if entries else cursor)

    def _entries(self, position: str) -> Iterator[Facts]:
        """Entries with all their fields as text; what lies beyond the limits is left for the next look."""
        command = [*self._command, "-o", "json", "--all", "--no-pager", f"--output-fields={FIELDS}", position]
        with output_of(command, READ_SECONDS) as output:
            entries, size = 0, 0
            while entries < MOST_ENTRIES and size < MOST_BYTES and (line := output.readline(LONGEST_LINE)):
                entry = self._entry(line)
                if entry is None:
                    self.unreadable += 1
                    continue
                yield entry
                entries, size = entries + 1, size + len(line)

    @staticmethod
    def _entry(line: bytes) -> Facts | None:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):  # the rest of a line that was too long may nest without end
            return None
        if not isinstance(entry, dict):
            return None
        return defaultdict(str, {name: shorten(text_of(value)) for name, value in entry.items()})

    def _issues(self, entries: Sequence[Facts]) -> Iterator[Issue]:
        statuses = {entry["UNIT"]: entry["EXIT_STATUS"] for entry in entries if entry["MESSAGE_ID"] == EXITED}
        held = cache(self._sockets)  # asked once, and only when somebody says so
        for entry in entries:
            kind, unit, speaker = KINDS.get(entry["MESSAGE_ID"]), entry["UNIT"], entry["_SYSTEMD_UNIT"]
            if kind and unit.endswith(".service"):
                known = {**entry, "EXIT_STATUS": statuses.get(unit, "")}
                facts = {fact: known[name] for name, fact in NAMES.items() if known.get(name)}
                yield Issue(kind, self.name, unit, entry["MESSAGE"], facts)
            elif PORT_TAKEN.search(entry["MESSAGE"]) and speaker.endswith(".service"):
                service = find(self._manager, speaker)
                yield from confirm(self._manager, service, entry["MESSAGE"], held()) if service else ()
