"""Findings for people: `concise` is one line each, `full` adds the source line with carets and the trace."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from dbsafety.output.record import Note, Place, Record, Report, one_line, printable
from dbsafety.output.style import Style

_WIDEST = 160
"""Longer source lines are cut around the finding."""
_CUT = "…"


def concise(report: Report, style: Style) -> Iterator[str]:
    """`path:line:column: CODE headline; remedy`, a line each; the remedy only where it fits."""
    for record in report.records:
        yield _line(record, record.said.line, style)


def full(report: Report, style: Style) -> Iterator[str]:
    """Each finding with its source line, the numbered notes of its trace, what comes of it and what to do."""
    for index, record in enumerate(report.records):
        if index:
            yield "\n"
        yield _line(record, record.said.headline, style)
        yield from _excerpt(record, style)
        for number, note in enumerate(record.trace, 1):
            yield from _step(f"{number}.", note, record.place, style)
        for note in record.related:
            yield from _step("also", note, record.place, style)
        yield from _advice(record, style)


def _line(record: Record, text: str, style: Style) -> str:
    place = record.place
    where = style.strong(f"{printable(place.path)}:{place.line}:{place.column}:")
    return f"{where} {style.severe(record.code, record.severity)} {one_line(text)}\n"


def _excerpt(record: Record, style: Style) -> Iterator[str]:
    place, source = record.place, record.source
    if not source.strip():
        return
    start = place.column - 1
    end = place.end_column - 1 if place.end_line == place.line else len(source.rstrip())
    shown, start, end = _window(source.rstrip(), start, max(end, start + 1))
    gutter = " " * len(str(place.line))
    blank = "".join("\t" if char == "\t" else " " * _width(char) for char in shown[:start])
    carets = "^" * max(1, sum(_width(char) for char in shown[start:end]))
    yield f" {style.dim(f'{place.line} |')} {printable(shown)}\n"
    yield f" {style.dim(f'{gutter} |')} {blank}{style.severe(carets, record.severity)}\n"


def _window(source: str, start: int, end: int) -> tuple[str, int, int]:
    """The part of a long line around the finding, and the finding's place in it."""
    if len(source) <= _WIDEST:
        return source, start, min(end, len(source))
    first = max(0, min(start - _WIDEST // 4, len(source) - _WIDEST))
    last = first + _WIDEST
    before, after = (_CUT if first else ""), (_CUT if last < len(source) else "")
    shift = len(before) - first
    return before + source[first:last] + after, start + shift, min(end, last) + shift


def _width(char: str) -> int:
    """Columns of a terminal the character takes, as `printable` shows it."""
    if char.isascii():
        return len(printable(char))
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _step(mark: str, note: Note, at: Place, style: Style) -> Iterator[str]:
    place = note.place
    where = f"line {place.line}" if place.path == at.path else f"{printable(place.path)}:{place.line}"
    yield f"  {style.strong(mark)} {where}: {one_line(note.text)}\n"
    source = note.source.strip()
    if source:
        shown, _, _ = _window(source, 0, 1)
        yield f"     {style.dim(printable(shown))}\n"


def _advice(record: Record, style: Style) -> Iterator[str]:
    if record.said.consequence:
        yield f"  {style.strong('why')}: {one_line(record.said.consequence)}\n"
    if record.said.remedy:
        yield f"  {style.strong('help')}: {one_line(record.said.remedy)}\n"
    if record.fix is not None:
        yield f"  {style.strong('fix')} ({record.fix.applicability}): {one_line(record.fix.title)}\n"
    if record.fix_refusal:
        said = "no fix" if record.fix is None else "not applied"
        yield f"  {style.strong(said)}: {one_line(record.fix_refusal)}\n"
