"""What a finding says, in three parts: what is wrong, what comes of it, what to do instead."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_LINE = 150
"""Characters that a message may take where it has one line; what the host puts before it comes on top."""
_LONGEST_CODE = range(60, 20, -4)
"""To how many characters the pieces of code in a headline are cut, until it fits."""
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
        """What is wrong, on one line of at most `LONGEST_LINE` characters where cutting the pieces of code in it achieves that."""
        shorter = " ".join(self.what.split())
        pieces = shorter.split("`")
        for limit in _LONGEST_CODE:
            if len(shorter) <= LONGEST_LINE:
                break
            shorter = "`".join(_cut(piece, limit) if index % 2 else piece for index, piece in enumerate(pieces))
        return shorter

    @property
    def line(self) -> str:
        """The headline, with the remedy where both fit on one line: for hosts that show no more."""
        both = f"{self.headline}; {self.remedy}"
        return both if self.remedy and len(both) <= LONGEST_LINE else self.headline


def _cut(code: str, limit: int) -> str:
    """The code cut short; the quotes and parentheses of a statement in it are closed again."""
    if len(code) <= limit:
        return code
    closed = _QUOTED_END.search(code)
    end = f"…{closed[0].lstrip('…')}" if closed else "…"
    return code[: limit - len(end)].rstrip() + end
