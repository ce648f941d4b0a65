"""Colours, where the terminal shows them."""

from __future__ import annotations

from dataclasses import dataclass

from dbsafety.model.finding import Severity

_RESET = "\x1b[0m"
_SEVERITY = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}

_MARKS = {"@": "36", "+": "32", "-": "31"}


@dataclass(frozen=True, slots=True)
class Style:
    """Wraps text in SGR codes (ECMA-48) when `color` is on."""

    color: bool = False

    def strong(self, text: str) -> str:
        """For what the eye should find first."""
        return self._wrap("1", text)

    def dim(self, text: str) -> str:
        """For what is there to be looked up."""
        return self._wrap("2", text)

    def severe(self, text: str, severity: Severity) -> str:
        """In the colour of the severity."""
        return self._wrap(f"1;{_SEVERITY[severity]}", text)

    def changed(self, line: str) -> str:
        """A line of the body of a unified diff, in the colour of its mark."""
        codes = _MARKS.get(line[:1])
        return line if codes is None else self._wrap(codes, line)

    def _wrap(self, codes: str, text: str) -> str:
        return f"\x1b[{codes}m{text}{_RESET}" if self.color and text else text
