"""What a finding says, in three parts: what is wrong, what comes of it, what to do instead."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_LINE = 150
"""Characters that a message may take where it has one line; what the host puts before it comes on top."""
_LONGEST_CODE, _SHORTEST_BESIDE, _SHORTEST_CODE, _LESS = 60, 32, 16, 4
"""Characters to which pieces of code are cut, step by step: further for a headline than for a remedy beside it."""
_QUOTED_END = re.compile(r"…?[\"']\)*$")


@dataclass(frozen=True, slots=True)
class Message:
    """`what` is wrong, its subject first, with the names and the line that are needed to see it.

    `consequence` is what the database or driver then does, in its own words where it has some, and `remedy` what to
    write instead, as an order. None of them ends with a full stop.
    """

    what: str
    consequence: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """All of it, in one sentence."""
        told = f"{self.what}: {self.consequence}" if self.consequence else self.what
        return f"{told}; {self.remedy}" if self.remedy else told

    @property
    def headline(self) -> str:
        """What is wrong, on one line; pieces of code in it are cut until it has at most `LONGEST_LINE` characters."""
        return _fitted(self.what, LONGEST_LINE, _SHORTEST_CODE)

    @property
    def line(self) -> str:
        """The headline, with the remedy where both fit on one line: for hosts that show no more."""
        if not self.remedy:
            return self.headline
        room = LONGEST_LINE - len(self.remedy) - len("; ")
        with_room = _fitted(self.what, room, _SHORTEST_BESIDE)
        return f"{with_room}; {self.remedy}" if len(with_room) <= room else self.headline


def _fitted(text: str, width: int, shortest: int) -> str:
    """The text on one line; if it is wider, its pieces of code are cut to at least `shortest` characters."""
    fitted = " ".join(text.split())
    pieces = fitted.split("`")
    for limit in range(_LONGEST_CODE, shortest - 1, -_LESS):
        if len(fitted) <= width:
            break
        fitted = "`".join(_cut(piece, limit) if index % 2 else piece for index, piece in enumerate(pieces))
    return fitted


def _cut(code: str, limit: int) -> str:
    """The code cut short; the quotes and parentheses of a statement in it are closed again."""
    if len(code) <= limit:
        return code
    closed = _QUOTED_END.search(code)
    if closed is not None:
        end = f"…{closed[0].lstrip('…')}"
        kept = code[: limit - len(end)].rstrip()
        if end[1] in kept:
            return kept + end
    return code[: limit - 1].rstrip() + "…"
