"""What a fix changes, as a unified diff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import unified_diff

from dbsafety.output.style import Style

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_HEADER_LINES = 2


def diff(path: str, old: str, new: str, style: Style) -> Iterator[str]:
    """The diff from `old` to `new`, line by line; line ends are those of the texts."""
    name = path.lstrip("/")
    lines = unified_diff(_LINE.findall(old), _LINE.findall(new), f"a/{name}", f"b/{name}")
    for number, line in enumerate(lines):
        text = line.rstrip("\r\n")
        end = line[len(text) :] if line.endswith("\n") else f"{line[len(text) :]}\n\\ No newline at end of file\n"
        yield (style.strong(text) if number < _HEADER_LINES else style.changed(text)) + end
