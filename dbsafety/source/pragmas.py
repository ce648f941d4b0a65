"""Comments that speak to dbsafety: `# dbsafety: ignore[CODE] reason`, `# noqa: CODE`, `# pylint: disable=dbs-...`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum

from dbsafety.model.span import Span
from dbsafety.source.text import SourceText

FILE_PRAGMA_LINES = 10
"""An `ignore-file` counts in this many lines from the top."""

_MARKER = re.compile(r"dbsafety|noqa|pylint:", re.IGNORECASE)
_OWN = re.compile(r"#\s*dbsafety:\s*ignore(?P<file>-file)?\b\s*(?:\[(?P<codes>[^\]#]*)\])?(?P<reason>[^#]*)")
_LIKE_OWN = re.compile(r"#\s*dbsafety(?:\s*:\s*|\s+|-)(?P<word>[a-z][\w-]*)(?P<reason>[^#]*)", re.IGNORECASE)
_WORDS = ("allow", "disable", "disable-file", "ignore", "ignore-file", "noqa", "nolint", "off", "skip", "skip-file")
"""Words by which a comment is meant to silence something, here or in other tools."""
_CODE = re.compile(r"\bDBS[0-9]+", re.IGNORECASE)
# flake8's own grammar: documentation "Selecting and Ignoring Violations", codes split at commas or blanks.
_CODES = r"[A-Za-z]+[0-9]+(?:(?:\s*,\s*|\s+)[A-Za-z]+[0-9]+)*"
_NOQA = re.compile(
    rf"#\s*(?P<file>flake8[:=]\s*)?noqa(?![\w-])(?::\s?(?P<codes>{_CODES}))?(?P<reason>[^#]*)", re.IGNORECASE
)
_PYLINT = re.compile(r"#\s*pylint:\s*disable\s*=\s*(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*)")
_WORD = re.compile(r"[^\s,]+")


class PragmaKind(Enum):
    """Whose comment it is."""

    OWN = "dbsafety"
    NOQA = "noqa"
    PYLINT = "pylint"


@dataclass(frozen=True, slots=True)
class Pragma:
    """One suppression comment.

    `codes` are the words it names, as written; empty means that it names none (every finding of the line for NOQA,
    nothing for OWN). `codes_span` is where they stand, `span` the whole pragma from `#` to the end of its reason.
    `whole_file` means that it speaks for the file, not for its line. An OWN comment that is meant as one and not
    written so names no codes.
    """

    kind: PragmaKind
    line: int
    codes: tuple[str, ...]
    span: Span
    codes_span: Span
    reason: str = ""
    whole_file: bool = False


@dataclass(frozen=True, slots=True)
class PragmaTable:
    """The pragmas of one file, in the order of the text."""

    pragmas: tuple[Pragma, ...] = ()
    by_line: Mapping[int, tuple[Pragma, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: SourceText) -> PragmaTable:
        """Read the comments of a file that parses; text in strings is not a comment."""
        if not _MARKER.search(text.text):
            return cls()
        found = tuple(pragma for line, col, comment in _comments(text) for pragma in _read(text, line, col, comment))
        lines: dict[int, tuple[Pragma, ...]] = {}
        for pragma in found:
            if not pragma.whole_file:
                lines[pragma.line] = (*lines.get(pragma.line, ()), pragma)
        return cls(found, lines)

    def at(self, lines: range) -> Iterator[Pragma]:
        """The pragmas that stand on one of `lines`."""
        for line in lines:
            yield from self.by_line.get(line, ())

    def for_file(self) -> Iterator[Pragma]:
        """The pragmas that speak for the whole file from a place where they may."""
        return (pragma for pragma in self.pragmas if pragma.whole_file and not misplaced(pragma))


def misplaced(pragma: Pragma) -> bool:
    """Whether this is an `ignore-file` below the lines where it counts."""
    return pragma.whole_file and pragma.kind is PragmaKind.OWN and pragma.line > FILE_PRAGMA_LINES


def _comments(text: SourceText) -> Iterator[tuple[int, int, str]]:
    """Line, character column and text of each comment, up to the last line where one may be a pragma."""
    end = max(match.start() for match in _MARKER.finditer(text.text))
    last, _ = text.position(end)
    # With LF at every line's end the pure-Python tokenizer before 3.12 sees the lines that the parser sees.
    stream = io.StringIO("\n".join(text.lines()) + "\n", newline="\n")
    try:
        for token in tokenize.generate_tokens(stream.readline):
            if token.start[0] > last:
                return
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.start[1], token.string
    except (tokenize.TokenError, SyntaxError):
        # The parser took the file and the tokenizer does not: comments up to here count, the rest silence nothing.
        return


def _read(text: SourceText, line: int, col: int, comment: str) -> Iterator[Pragma]:
    found = [
        *((PragmaKind.OWN, match) for match in _own(comment)),
        *((PragmaKind.NOQA, match) for match in _NOQA.finditer(comment)),
        *((PragmaKind.PYLINT, match) for match in _PYLINT.finditer(comment)),
    ]
    for kind, match in sorted(found, key=lambda item: item[1].start()):
        groups: Mapping[str, str | None] = {"codes": None, **match.groupdict()}
        start = match.start("codes") if groups["codes"] is not None else match.end()
        end = match.end("codes") if groups["codes"] is not None else match.end()
        yield Pragma(
            kind,
            line,
            tuple(_WORD.findall(groups["codes"] or "")),
            _span(text, line, col + match.start(), col + match.end()),
            _span(text, line, col + start, col + end),
            (groups.get("reason") or "").strip(),
            bool(groups.get("file")) or (groups.get("word") or "").lower().endswith("-file"),
        )


def _own(comment: str) -> Iterator[re.Match[str]]:
    """What is written as it must be, and what is meant so: another tool's word, no colon, a typing error."""
    written = list(_OWN.finditer(comment))
    yield from written
    starts = {match.start() for match in written}
    for match in _LIKE_OWN.finditer(comment):
        if match.start() not in starts and _is_meant(match["word"].lower(), match["reason"].strip()):
            yield match


def _is_meant(word: str, rest: str) -> bool:
    """Whether it is a suppression and no prose: a code in brackets, or a word for it before a code or alone."""
    if rest[:1] in ("[", "(", "=") and _CODE.match(rest[1:].lstrip()):
        return True
    return bool(get_close_matches(word, _WORDS, n=1, cutoff=0.75)) and (
        not rest or rest[0] in "[(=:" or _CODE.search(rest) is not None
    )


def codes_in(text: str) -> tuple[str, ...]:
    """The codes of rules that a text names, as they are written in brackets."""
    return tuple(dict.fromkeys(code.upper() for code in _CODE.findall(text)))


def _span(text: SourceText, line: int, start: int, end: int) -> Span:
    return Span(line, text.utf8_column(line, start), line, text.utf8_column(line, end))
