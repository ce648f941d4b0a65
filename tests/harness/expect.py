"""Inline expectations of fixtures: reads them (nothing is evaluated) and compares the full set with what was found.

    conn.commit()  # error: 9 [DBS101] "part of the message"
    # missed: [DBS101] reason          on a line of its own: speaks for the next line of code
    conn.commit()  # alarm: [DBS101] reason

`error` is found and right, `missed` should be found and is not, `alarm` is found and should not be. The column
(1-based, in characters) and the text are optional. A comment may hold several, each after its own `#`. Header lines,
before the first code: `# driver: psycopg2, sqlite3`, `# options: min-confidence = "low"; target-python = "3.12"`
(TOML assignments for `[tool.dbsafety]`), `# python: >=3.11`.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_EXPECTATION = re.compile(
    r"\#\s*(?P<kind>error|missed|alarm):\s*"
    r"(?:(?P<column>\d+)\s+)?"
    r"\[(?P<code>[A-Z]{1,3}\d{1,3})\]\s*"
    r"(?P<rest>[^#]*)"
)
_LOOKS_LIKE_ONE = re.compile(r"#\s*(error|missed|alarm)\s*:")
_QUOTED = re.compile(r'"(?P<text>[^"]*)"\s*')
_HEADER = re.compile(r"#\s*(?P<key>driver|options|python):\s*(?P<value>.+)")
_VERSION = re.compile(r"(>=|<)\s*(\d+)\.(\d+)")
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


class GrammarError(Exception):
    """An expectation is not written as the grammar asks."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One finding as a face shows it: 1-based line and column, the column in characters."""

    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.code} {self.message}"

    def position(self) -> tuple[int, int, str, str]:
        """The order in which faces are compared."""
        return (self.line, self.column, self.code, self.message)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the comment says of line `line`. `text` is part of the message for `error`, the reason otherwise."""

    kind: str
    line: int
    code: str
    column: int | None = None
    text: str = ""

    def fits(self, seen: Seen) -> bool:
        """Whether the finding is the one meant."""
        text = self.text if self.kind == "error" else ""
        return (
            (seen.line, seen.code) == (self.line, self.code)
            and self.column in (None, seen.column)
            and text in seen.message
        )

    def __str__(self) -> str:
        column = f"{self.column} " if self.column is not None else ""
        return f"{self.line}: {self.kind}: {column}[{self.code}] {self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class Fixture:
    """A fixture's header and expectations."""

    drivers: tuple[str, ...]
    options: tuple[str, ...]
    python: str
    expectations: tuple[Expectation, ...]

    @property
    def runs_here(self) -> bool:
        """Whether this interpreter is one the header admits."""
        bounds = [(sign, (int(major), int(minor))) for sign, major, minor in _VERSION.findall(self.python)]
        return all((sys.version_info[:2] >= bound) == (sign == ">=") for sign, bound in bounds)


def parse(source: str, name: str = "fixture") -> Fixture:
    """Read header and expectations. Raises GrammarError with file and line when one is malformed."""
    header: dict[str, str] = {}
    expectations: list[Expectation] = []
    waiting: list[tuple[int, str]] = []
    code_seen = False
    for line, comment, has_code in _lines(source):
        if comment and not has_code and not code_seen and (match := _HEADER.match(comment)):
            header[match["key"]] = match["value"].strip()
        elif comment and not has_code:
            waiting.append((line, comment))
        elif has_code:
            code_seen = True
            for at, text in [*waiting, (line, comment)]:
                expectations.extend(_read(text, line, f"{name}:{at}"))
            waiting = []
    for at, text in waiting:
        if _LOOKS_LIKE_ONE.search(text):
            raise GrammarError(f"{name}:{at}: no code follows this expectation")
    return Fixture(
        drivers=_split(header.get("driver", ""), ","),
        options=_split(header.get("options", ""), ";"),
        python=header.get("python", ""),
        expectations=tuple(expectations),
    )


def differences(expectations: Iterable[Expectation], found: Sequence[Seen]) -> list[str]:
    """One sentence for each disagreement; none when the full sets agree."""
    left = list(found)
    problems = []
    ordered = sorted(expectations, key=lambda one: (one.line, one.column is None, -len(one.text)))
    for expected in (one for one in ordered if one.kind != "missed"):
        match = next((seen for seen in left if expected.fits(seen)), None)
        if match is not None:
            left.remove(match)
        elif expected.kind == "alarm":
            problems.append(f"the false alarm is gone, delete its line: {expected}")
        else:
            problems.append(f"not found: {expected}")
    missed = [one for one in ordered if one.kind == "missed"]
    for seen in left:
        known = next((one for one in missed if one.fits(seen)), None)
        problems.append(f"now found, make it an error line: {seen}" if known else f"not expected: {seen}")
    return problems


def _lines(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line number, its comment ("" for none), and whether a token of code starts on it; blank lines are left out.

    A file that cannot be tokenized to its end gives the lines up to there.
    """
    comments: dict[int, str] = {}
    code: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                comments[token.start[0]] = token.string
            elif token.type not in _NO_CODE:
                code.add(token.start[0])
    except (tokenize.TokenError, SyntaxError):
        code.update(range(max(code, default=0) + 1, source.count("\n") + 1))
    for line in sorted(comments.keys() | code):
        yield line, comments.get(line, ""), line in code


def _read(comment: str, line: int, where: str) -> Iterator[Expectation]:
    matches = list(_EXPECTATION.finditer(comment))
    if len(matches) != len(_LOOKS_LIKE_ONE.findall(comment)):
        raise GrammarError(f"{where}: not an expectation: {comment}")
    for match in matches:
        kind, rest = match["kind"], match["rest"].strip()
        quoted = _QUOTED.fullmatch(rest)
        if kind == "error" and rest and not quoted:
            raise GrammarError(f'{where}: the message of an error stands in double quotes: "{rest}"')
        if kind != "error" and not rest:
            raise GrammarError(f"{where}: {kind} needs a reason")
        column = int(match["column"]) if match["column"] else None
        yield Expectation(kind, line, match["code"], column, quoted["text"] if quoted else rest)


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(separator) if part.strip())
