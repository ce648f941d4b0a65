"""From plans to edits: rewrite the text, compare it line by line with the old one, and keep only what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

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
    old_lines, new_lines = _lines(text), _lines(new)
    hunks = _hunks(old_lines, new_lines)
    _require_allowed(hunks, [lines for footprint in footprints for lines in footprint.allowed])
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


def _require_allowed(hunks: Sequence[Hunk], allowed: Sequence[Lines]) -> None:
    for hunk in hunks:
        changed = range(hunk.old_start + 1, hunk.old_end + 1)
        if changed:
            stray = [line for line in changed if not any(lines.first <= line <= lines.last for lines in allowed)]
        else:  # an insertion may touch the border of a range
            fits = any(lines.first - 1 <= hunk.old_start <= lines.last for lines in allowed)
            stray = [] if fits else [hunk.old_start + 1]
        if stray:
            raise FixRefused(f"line {stray[0]} would change, which is not part of the fix")


def _lines(text: SourceText) -> list[str]:
    """Lines with their line ends; no empty one at the end."""
    starts = [text.index(line, 0) for line in range(1, text.line_count + 1)]
    lines = [text.text[start:end] for start, end in zip(starts, [*starts[1:], len(text.text)], strict=True)]
    return lines if lines[-1] else lines[:-1]


def _hunks(old: Sequence[str], new: Sequence[str]) -> tuple[Hunk, ...]:
    """Which lines differ. Equal lines at both ends are set aside first: most of a file is untouched."""
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    matcher = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    return tuple(
        Hunk(head + old_start, head + old_end, head + new_start, head + new_end)
        for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes()
        if kind != "equal"
    )


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
