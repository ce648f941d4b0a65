"""From plans to edits: rewrite the text, compare it line by line with the old one, and keep only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from dbsafety.fix.align import aligned
from dbsafety.fix.footprint import Footprint, Lines
from dbsafety.fix.locate import ParsedFile
from dbsafety.fix.recipes import rewritten
from dbsafety.model.edit import Edit
from dbsafety.model.faults import FixRefused
from dbsafety.model.rewrite import EnsureImport, FixPlan
from dbsafety.source.text import SourceText


@dataclass(frozen=True, slots=True)
class Hunk:
    """The old lines after line `old_start` up to `old_end` became the new ones after `new_start` up to `new_end`."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


@dataclass(frozen=True, slots=True)
class Realised:
    """A file with plans carried out: its new bytes, which lines changed, and the smallest edits that do it."""

    data: bytes
    hunks: tuple[Hunk, ...]
    edits: tuple[Edit, ...]


def realise(
    parsed: ParsedFile, plans: Sequence[FixPlan], imports: Sequence[EnsureImport], footprints: Sequence[Footprint]
) -> Realised:
    """Carry out the plans, which lie apart from each other, and add the imports.

    Raises FixRefused when a plan does not fit its place, when a line outside the footprints changes (libcst is not
    lossless everywhere), or when the file's encoding cannot express the new code.
    """
    text = parsed.text
    new = SourceText.of(rewritten(parsed, plans, imports))
    old_lines, new_lines = _lines(parsed.plain), _lines(new)
    hunks = _hunks(old_lines, new_lines, [lines for footprint in footprints for lines in footprint.allowed])
    for line in (line for hunk in hunks for line in range(hunk.old_start + 1, hunk.old_end + 1)):
        if not parsed.is_plain(line):
            raise FixRefused(f"the form feed or the blanks of line {line} would be lost")
    edits = tuple(_edit(text, hunk, "".join(new_lines[hunk.new_start : hunk.new_end])) for hunk in hunks)
    return Realised(spliced(text, edits), hunks, edits)


def spliced(text: SourceText, edits: Sequence[Edit]) -> bytes:
    """The file with the edits made. Raises FixRefused when its encoding cannot express the new text."""
    parts, at = [], 0
    for edit in edits:
        try:
            parts += [text.data[at : edit.start], text.encode(edit.text)]
        except UnicodeEncodeError as error:
            raise FixRefused(f"the new code cannot be written in the file's encoding ({text.encoding})") from error
        at = edit.end
    return b"".join([*parts, text.data[at:]])


def _lines(text: SourceText) -> list[str]:
    """Lines with their line ends; no empty one at the end."""
    starts = [text.index(line, 0) for line in range(1, text.line_count + 1)]
    lines = [text.text[start:end] for start, end in zip(starts, [*starts[1:], len(text.text)], strict=True)]
    return lines if lines[-1] else lines[:-1]


def _hunks(old: Sequence[str], new: Sequence[str], allowed: Sequence[Lines]) -> tuple[Hunk, ...]:
    """Which lines differ. Lines outside `allowed` must all be there; raises FixRefused when they are not.

    They tell which part of `new` belongs to which region, so that files full of equal lines are not mixed up.
    """
    regions = _regions(allowed, len(old))
    bounds = [0, *(bound for region in regions for bound in region), len(old)]
    kept = list(zip(bounds[::2], bounds[1::2], strict=True))
    places = aligned([old[start:end] for start, end in kept], [end - start for start, end in regions], new)
    hunks: list[Hunk] = []
    for number, (start, end) in enumerate(regions):
        new_start = places[number] + kept[number][1] - kept[number][0]
        hunks += _within(old, new, (start, end), (new_start, places[number + 1]))
    return tuple(hunks)


def _regions(allowed: Sequence[Lines], count: int) -> list[tuple[int, int]]:
    """The ranges merged where they touch; 0-based, the end exclusive."""
    merged: list[tuple[int, int]] = []
    for lines in sorted(allowed):
        start, end = min(lines.first - 1, count), min(lines.last, count)
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _within(
    old: Sequence[str], new: Sequence[str], old_range: tuple[int, int], new_range: tuple[int, int]
) -> list[Hunk]:
    """The differences inside a region. Equal lines at both ends are set aside first."""
    before, after = old[slice(*old_range)], new[slice(*new_range)]
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    matcher = SequenceMatcher(None, before[head : len(before) - tail], after[head : len(after) - tail], autojunk=False)
    old_at, new_at = old_range[0] + head, new_range[0] + head
    return [
        Hunk(old_at + old_start, old_at + old_end, new_at + new_start, new_at + new_end)
        for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes()
        if kind != "equal"
    ]


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many items are equal from the start."""
    return next(
        (at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new))
    )


def _edit(text: SourceText, hunk: Hunk, new: str) -> Edit:
    """The hunk as an edit of characters: equal beginnings and ends are cut off."""
    start, end = text.index(hunk.old_start + 1, 0), text.index(hunk.old_end + 1, 0)
    old = text.text[start:end]
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    first, last = text.position(start + head), text.position(end - tail)
    return Edit(text.file_offset(*first), text.file_offset(*last), new[head : len(new) - tail])
