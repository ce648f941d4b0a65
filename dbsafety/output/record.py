"""The one internal record all writers write: findings in the units of people, 1-based lines and character columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.message import Message


@dataclass(frozen=True, slots=True)
class Place:
    """A range of a file. Lines and columns are 1-based, columns count characters, the end column is the one after."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Note:
    """One stop of a trace; `source` is the line it stands on."""

    place: Place
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Text to put in a place of the file."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class FixNote:
    """What `fix` would do: `applicability` is safe, unsafe or display; `replacements` only where they were made."""

    applicability: str
    title: str
    replacements: tuple[Replacement, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One finding; `source` is the first line of its place."""

    place: Place
    code: str
    slug: str
    severity: Severity
    confidence: Confidence
    said: Message
    source: str = ""
    trace: tuple[Note, ...] = ()
    fix: FixNote | None = None
    fix_refusal: str = ""
    fingerprint: str = ""
    related: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept the tool from doing all it was asked: a fault (exit code 2), or a note when `is_fault` is False."""

    path: str
    line: int
    message: str
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `records` and `suppressed` are sorted by place and code; `files` counts the files looked at."""

    records: tuple[Record, ...]
    suppressed: tuple[Record, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    files: int = 0
    version: str = ""


def counts(report: Report) -> Mapping[tuple[str, str], int]:
    """How many findings each rule has, by code and slug, the most frequent first."""
    found: dict[tuple[str, str], int] = {}
    for record in report.records:
        key = (record.code, record.slug)
        found[key] = found.get(key, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def one_line(text: str) -> str:
    """The text on one line, without characters that would steer a terminal."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """The text with control characters (but tabs) shown as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char == "\t" or _harmless(char) else _escape(char) for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or char == "\xa0" or "\ud800" <= char <= "\udfff"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
