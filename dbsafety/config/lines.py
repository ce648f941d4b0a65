"""On which line of a configuration file a setting stands, for messages: TOML readers do not keep the places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHARED_FILE = "pyproject.toml"
"""The file in which our settings stand under `[tool.dbsafety]`."""
_ASSIGNMENT = re.compile(r"\s*[\w\"'.*/ -]+=")


def line_of(file: Path, key: str, inner: str = "", number: int = 0) -> int:
    """The 1-based line on which a setting stands in a configuration file, 0 when it is not found.

    `inner` is a key in its table or a string in its list, whose line is given where it is found. Of an array of tables,
    `number` says which.
    """
    lines = file.read_text("utf-8").split("\n")
    starts = _starts(lines, "" if file.name != SHARED_FILE else "tool.dbsafety", key)
    if not starts:
        return 0
    start = starts[number] if number < len(starts) else starts[0]
    found = (_line_inside(lines, one, inner) for one in (start, *starts)) if inner else ()
    return next((line for line in found if line), start)


def _starts(lines: Sequence[str], prefix: str, key: str) -> list[int]:
    """The lines of the headers and assignments that give the setting a value."""
    header = f"{prefix}.{key}".lstrip(".")
    section = ""
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("[") and text.split("#")[0].rstrip().endswith("]"):
            section = text.split("#")[0].strip("[] \t").replace('"', "").replace("'", "")
            if section == header or section.startswith(f"{header}."):
                found.append(number)
        elif section == prefix and text.split("=")[0].strip().strip("\"'").split(".")[0].strip() == key:
            found.append(number)
    return found


def _line_inside(lines: Sequence[str], start: int, inner: str) -> int:
    """The line of a key or string behind the start of a setting, up to the next setting; else 0."""
    wanted = re.compile(rf"(?<![\w*/-]){re.escape(inner)}(?![\w*/.-])")
    is_table = lines[start - 1].lstrip().startswith("[")
    for number, line in enumerate(lines[start - 1 :], start):
        text = line.strip()
        ends = text.startswith("[") if is_table else text.startswith("[") or _ASSIGNMENT.match(line)
        if number > start and ends:
            break
        if not text.startswith("#") and wanted.search(line):
            return number
    return 0
